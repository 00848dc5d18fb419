#!/usr/bin/env bash
# Runs one Slurm job on a Slurm of its own: two nodes on this machine, gone afterwards. As root, with Debian's packages
# munge, slurmctld, slurmd and slurm-client.
#   tests/deploy/slurm_here.sh FOLDER SBATCH-ARGUMENT...      FOLDER: for state and logs
set -euo pipefail
folder=$1
shift
mkdir -p "$folder/state" "$folder"/spool-node{1,2} "$folder/munge"
port=${SLURM_PORT:-17100}

head -c 1024 /dev/urandom > "$folder/munge/key"
chmod 700 "$folder/munge" && chmod 600 "$folder/munge/key"
cat > "$folder/slurm.conf" << CONF
ClusterName=here
SlurmctldHost=$(hostname)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CredType=cred/munge
SlurmctldPort=$port
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool-%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd-%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd-%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
SwitchType=switch/none
NodeName=node1 NodeHostname=$(hostname) NodeAddr=127.0.0.1 Port=$((port + 1)) CPUs=2 RealMemory=8000
NodeName=node2 NodeHostname=$(hostname) NodeAddr=127.0.0.1 Port=$((port + 2)) CPUs=2 RealMemory=8000
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF="$folder/slurm.conf"

started=()
finish() { kill "${started[@]}" 2> /dev/null || true; }
trap finish EXIT
munged --foreground --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" \
    --pid-file="$folder/munge/pid" --seed-file="$folder/munge/seed" --log-file="$folder/munge/log" &
started+=($!)
until [ -S "$folder/munge/socket" ]; do sleep 0.2; done
slurmctld -D > "$folder/slurmctld.out" 2>&1 &
started+=($!)
for node in node1 node2; do
    slurmd -D -N "$node" > "$folder/$node.out" 2>&1 &
    started+=($!)
done
until [ "$(sinfo --noheader --states=idle --format=%D)" = 2 ]; do sleep 0.5; done
sbatch --wait "$@"
