"""The pages that `--help` prints: those of the program and of each command, without importing anything heavy."""

COMMANDS = {
    "fit": "train what the config names: a saliency decoder, or a ViT from scratch",
    "validate": "score it on the val split",
    "test": "score it on the test split, beside baselines, and print the table",
    "predict": "write maps and overlays for a folder of images",
    "explain": "show what a ViT looks at in some images: overlays by one or more methods, for one or more classes",
    "report": "put the runs under a folder into one page, with tables in CSV, Markdown and LaTeX",
    "sweep": "fit and test every row of a sweep",
    "cache": "list and remove the maps of frozen models that runs keep on disk",
    "doctor": "check versions, devices, W&B, datasets, cached weights and room on disk",
}

_PROGRAM = """usage: salvit {{fit,validate,test,predict}} [--config FILE] [options]
       salvit explain IMAGE... [options]
       salvit report FOLDER [options]
       salvit sweep FILE [options]
       salvit cache {{list,prune}}
       salvit doctor [options]

Does a Vision Transformer look where people look, and does its explanation say what it used?

commands:
{commands}

options:
  -h, --help     this page; `salvit fit --help` lists the options of a command
  -q, --quiet    of every command: print results, warnings and errors only
  --version      the version

Results go to stdout, progress and messages to stderr. Exit status: 0; 2 if the command line is wrong; 1 after a later
error; 130 after Ctrl-C; 143 after SIGTERM.

examples:
  salvit fit --config salvit:demo.yaml
  salvit fit --config salvit:osie.yaml --data.root PATH --model.extractor salient_attention
  salvit predict --config salvit:predict.yaml --ckpt_path CHECKPOINT --data.root FOLDER
  salvit explain dog.jpg FOLDER --method agcam rollout --model vit_base_patch16_224 --target "bull mastiff"
"""

_COMMAND = """usage: salvit {name} [--config FILE] [options]

{name}: {about}.

options:
  --config FILE         options in YAML; of several files the later win, and what is typed wins over all;
                        salvit:osie.yaml, salvit:agcam/voc.yaml … are experiments that come with salvit
  --model CLASS         SaliencyModule, ClassificationModule, ExplanationModule, or module.Class of yours
  --model.OPTION VALUE  an option of the model; `salvit {name} --model.help CLASS` lists them
  --data CLASS          PopOutDataModule, SaliconDataModule, OSIEDataModule, CAT2000DataModule, MIT1003DataModule,
                        ImageNetValDataModule, VOC2012DataModule, CUB200DataModule, TinyImageNetDataModule,
                        ClassFolderDataModule; to predict also MIT300DataModule, P3O3DataModule,
                        ImageFolderDataModule; or module.Class of yours
  --data.OPTION VALUE   an option of the data; `salvit {name} --data.help CLASS` lists them
  --ckpt_path FILE      the checkpoint to {checkpoint}; last or best: that of the newest fit of this name
  --untrained true      validate, test, predict: take random weights instead of a checkpoint
  --name NAME           name of the experiment, may contain /; default: that in the config, or the file's without .yaml
  --runs FOLDER         every run writes to a new folder, FOLDER/NAME/version_N; default: runs
  --wandb VALUE         Weights & Biases: true, false, or the name of a project; default: true (project salvit)
  --seed_everything N   seed of all random numbers; default: 0
  --trainer.OPTION VALUE
                        an option of Lightning's Trainer, such as max_epochs, accelerator, devices, precision, logger
                        (loggers in the place of W&B; false: none) and callbacks
  --print_config        print the resulting configuration, and exit
  -q, --quiet           print results, warnings and errors only
  -h, --help            this page
  --help_all            every option, those of Lightning's Trainer included
"""

_CHECKPOINT = {"fit": "go on from", "validate": "score", "test": "score", "predict": "predict with"}


def program_page() -> str:
    """The page of `salvit --help`."""
    return _PROGRAM.format(commands="\n".join(f"  {name:<10} {about}" for name, about in COMMANDS.items()))


def command_page(name: str) -> str:
    """The page of `salvit fit --help`, and of the other commands that Lightning runs.

    Args:
        name: "fit", "validate", "test" or "predict".
    """
    return _COMMAND.format(name=name, about=COMMANDS[name], checkpoint=_CHECKPOINT[name])
