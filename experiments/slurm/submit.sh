#!/usr/bin/env bash
# A salvit command on several nodes of a Slurm cluster, one process per GPU:
#   sbatch experiments/slurm/submit.sh test --config experiments/osie.yaml --data.root FOLDER --ckpt_path CHECKPOINT
# Nodes and GPUs are options of sbatch, which win over those below: sbatch --nodes 4 --gpus-per-node 8 \
#   --ntasks-per-node 8 … (as many tasks as GPUs). The environment is .venv in the folder of submission, or $SALVIT_VENV.
# A fit that is not done 90 seconds before the time limit saves a checkpoint, and the job is queued again and goes on.
# Data, checkpoint and runs/ must be on a file system that all nodes share.
#SBATCH --job-name=salvit
#SBATCH --nodes=2
#SBATCH --gpus-per-node=4
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --signal=SIGUSR1@90
#SBATCH --output=slurm-%j.out
set -euo pipefail

if [ "$#" -eq 0 ]; then
  echo "submit.sh: what to run is missing, such as: sbatch submit.sh test --config FILE" >&2
  exit 2
fi
if [ -z "${SLURM_JOB_ID:-}" ]; then
  echo "submit.sh: not in a Slurm job: start it with sbatch" >&2
  exit 2
fi
python="${SALVIT_VENV:-${SLURM_SUBMIT_DIR:?}/.venv}/bin/python"
if [ ! -x "$python" ]; then
  echo "submit.sh: no $python: set SALVIT_VENV to the environment that salvit is installed in" >&2
  exit 2
fi

# Lightning reads rank, world size and the first node's address from Slurm, and checks them against these options.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec srun --kill-on-bad-exit=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" \
  "$python" -m salvit "$@" \
  --trainer.num_nodes "${SLURM_JOB_NUM_NODES:?}" --trainer.devices "${SLURM_NTASKS_PER_NODE:?}" \
  --trainer.strategy ddp
