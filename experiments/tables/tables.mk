# One target for each table of the papers; docs/tables.md explains them.
# DATA=, ROWS=, SEEDS=, ROOT= and ARGS= as for sweep-arch; VITS= names files in experiments/tables/vits.
.PHONY: table1 table2 table3 table-agcam
table1 table2 table3 table-agcam: export OMP_NUM_THREADS ?= 1

# Tables 1 to 3 of "Vision Transformers are Inherently Saliency Learners". A row is VIT/METHOD, and is finished when
# $(TABLES)/VIT/METHOD/seedN/tested is there: after an interrupt, type the command again. Tables share their rows.
VITS ?= supervised dino
WITHOUT_CLASSIFIER := dino vit_small_patch14
FITTED_ON = $(or $(DATA),salicon)
TABLES = $(RUNS)/tables/$(FITTED_ON)

of_a_class = $(if $(filter $(1),$(WITHOUT_CLASSIFIER)),,relevance_lrp full_lrp partial_lrp)
TABLE1 = $(foreach vit,$(VITS),$(addprefix $(vit)/, \
  $(call of_a_class,$(vit)) raw_attention rollout salient_attention-32 unsupervised_map))
TABLE2 = $(foreach vit,$(filter-out supervised,$(VITS)),$(addprefix $(vit)/,raw_attention salient_attention-32))
TABLE3 = $(foreach vit,$(filter-out supervised,$(VITS)),$(addprefix $(vit)/salient_attention-,16 32 64 128 256))

# $(1): rows; $(2): names of the files that say what is finished.
finished = $(foreach seed,$(or $(SEEDS),0),$(foreach row,$(1),$(addprefix $(TABLES)/$(row)/seed$(seed)/,$(2))))
# $(1): rows. As in the paper, other datasets get the decoders that were fitted on SALICON.
with_mit300 = $(call finished,$(1),tested) $(if $(filter salicon,$(FITTED_ON)),$(if $(SALVIT_MIT300_ROOT), \
  $(call finished,$(filter-out %/unsupervised_map,$(1)),mit300)))
with_cat2000 = $(if $(filter salicon,$(FITTED_ON)),.cat2000-is-there $(call finished,$(1),cat2000 \
  $(if $(wildcard $(SALVIT_CAT2000_ROOT)/testSet),cat2000_test)),$(call finished,$(1),tested))

table1: $(call with_mit300,$(or $(ROWS),$(TABLE1))) ## ViTs and methods on SALICON and MIT300; DATA=osie or popout, ROWS=, VITS=, ROOT=
table2: $(call with_cat2000,$(or $(ROWS),$(TABLE2))) ## fitted on SALICON, scored on CAT2000; options as of table1
table3: $(call with_mit300,$(or $(ROWS),$(TABLE3))) ## salient attention with k = 16 to 256; options as of table1
table1 table2 table3:
	$(VENV)/bin/python -m salvit.report.compare $@ $(TABLES)

.PHONY: .cat2000-is-there
.cat2000-is-there:
	@test -n "$$SALVIT_CAT2000_ROOT" || { echo 'make table2: set SALVIT_CAT2000_ROOT to the folder of CAT2000' >&2; exit 2; }

# Options of the row VIT/METHOD/seedN, the stem of its file.
run = --runs $(RUNS)/tables --name $(FITTED_ON)/$*
row = --config experiments/tables/base.yaml --config experiments/tables/data/$(FITTED_ON).yaml \
  --config experiments/tables/vits/$(word 1,$(subst /, ,$*)).yaml \
  --config experiments/tables/methods/$(word 2,$(subst /, ,$*)).yaml \
  --seed_everything $(patsubst seed%,%,$(notdir $*)) $(run) $(if $(ROOT),--data.root $(ROOT)) $(ARGS)
# The unsupervised map has no decoder to fit; FIT_ARGS= are options of the decoder and its training.
has_decoder = $(if $(findstring /unsupervised_map/,$*),,yes)

$(TABLES)/%/tested: | $(INSTALLED)
	$(call own_gpu,$*) $(if $(has_decoder),$(call fit_and_test,$(row) $(FIT_ARGS),$(TABLE_ONLY)),$(SALVIT) test $(row))
	touch $@

$(TABLES)/%/mit300: $(TABLES)/%/tested
	$(call own_gpu,$*) $(SALVIT) predict --config experiments/mit300.yaml $(run) --ckpt_path last
	touch $@

$(TABLES)/%/cat2000: $(TABLES)/%/tested
	$(call own_gpu,$*) $(SALVIT) test --config experiments/tables/base.yaml \
	  --config experiments/tables/data/cat2000.yaml $(run) $(TABLE_ONLY) --ckpt_path last
	touch $@

$(TABLES)/%/cat2000_test: $(TABLES)/%/tested
	$(call own_gpu,$*) $(SALVIT) predict --config experiments/mit300.yaml --data CAT2000DataModule $(run) --ckpt_path last
	touch $@

# Not deleted as a mere step to another file.
.PRECIOUS: $(TABLES)/%/tested

# Tables 1 to 4 of "Attention Guided CAM". A row is a dataset: imagenet has Tables 1 and 4, voc Table 2, cub Table 3.
AGCAM := $(RUNS)/tables/agcam
# $(1): name of a config.
agcam = --config experiments/agcam/$(1).yaml --runs $(RUNS)/tables --name agcam/$(1)

table-agcam: $(patsubst %,$(AGCAM)/%/tested,$(or $(ROWS),$(DATA),imagenet voc cub)) ## explanations on ImageNet, VOC and CUB; DATA=osie or popout, ROWS=
	$(VENV)/bin/python -m salvit.report.compare agcam $(AGCAM)

$(AGCAM)/voc/tested: $(AGCAM)/voc_head/tested
$(AGCAM)/cub/tested: $(AGCAM)/cub_head/tested

$(AGCAM)/%_head/tested: | $(INSTALLED)
	$(call own_gpu,$*) $(call fit_and_test,$(call agcam,$*_head) $(HEAD_ARGS))
	touch $@

$(AGCAM)/%/tested: | $(INSTALLED)
	$(call own_gpu,$*) $(SALVIT) test $(call agcam,$*) --model.extractors '[rollout,relevance_lrp,agcam]' \
	  $(if $(ROOT),--data.root $(ROOT)) $(ARGS)
	touch $@
