#!/bin/bash
# One worker of a search with hydra.sweeper.workers=slurm. The search submits this file as a job array, one task for
# each worker, with the worker's command as arguments. Copy the file to change it, and name the copy in
# hydra.sweeper.slurm_template. The lines for a partition, an account, GPUs or modules belong here.
#SBATCH --time=04:00:00
#SBATCH --cpus-per-task=1
#SBATCH --mem=4G
# A minute before the time limit, or up to a minute earlier, the worker is asked to end. It releases its trial, and the
# search submits a new worker.
#SBATCH --signal=B:TERM@60
# A worker that was preempted, or whose node has failed, starts again.
#SBATCH --requeue

export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"

# `exec`, because the signal reaches this process only.
exec "$@"
