#!/bin/bash
# A hundred thousand pictures on eight GPUs of a Slurm cluster: each task paints its
# part of them. Two minutes before its time is up a task stops, and is queued again.
#
#   sbatch batch-array.sh FOLDER
#
#SBATCH --job-name=stylize
#SBATCH --array=0-7
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append

data=${1:?give the folder that has photos, styles and vgg19.safetensors}

# --shard is the number of tasks; which one this is, SLURM_ARRAY_TASK_ID says.
"${STYLIZE:-stylize}" batch "$data/photos/**" \
  --style "$data/styles" \
  --output "$data/results/{dir}/{content}-{style}.png" \
  --report "$data/reports/$SLURM_ARRAY_TASK_ID.jsonl" \
  --weights "${WEIGHTS:-$data/vgg19.safetensors}" \
  --devices "${DEVICES:-all}" \
  --shard 8 &
stylize=$!

# bash waits for a program before it looks at a signal, but not in wait.
trap 'kill -TERM "$stylize"' TERM
while true; do
  wait "$stylize"
  code=$?
  [ "$code" -eq 143 ] || break # 143: it was the signal that ended wait
done
if [ "$code" -eq 130 ]; then # stopped, and the same command goes on
  scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
fi
exit "$code"
