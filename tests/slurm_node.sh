#!/bin/bash
# A SLURM of one node, from Debian's slurm-wlm and munge, for tests: nothing outside its folder is touched.
#   slurm_node.sh start FOLDER    prints the SLURM_CONF to use
#   slurm_node.sh stop FOLDER
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin"
what=$1
folder=$2

stop() {
    for name in slurmd slurmctld munged; do
        if [ -f "$folder/$name.pid" ]; then
            kill "$(cat "$folder/$name.pid")" 2>/dev/null || true
        fi
    done
}

if [ "$what" = stop ]; then
    stop
    exit 0
fi
for command in munged slurmctld slurmd sbatch; do
    command -v "$command" >/dev/null || { echo "no $command: apt-get install slurm-wlm munge" >&2; exit 77; }
done

mkdir -p "$folder/state" "$folder/spool"
chmod 700 "$folder"
host=$(hostname -s)
# any free ports
read -r ctld slurmd < <(python3 -c '
import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(s.getsockname()[1] for s in held))')

head -c 64 /dev/urandom >"$folder/munge.key"
chmod 600 "$folder/munge.key"
munged --force --socket="$folder/munge.sock" --key-file="$folder/munge.key" --pid-file="$folder/munged.pid" \
    --log-file="$folder/munged.log" --seed-file="$folder/munge.seed" --num-threads=2

cat >"$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$ctld
SlurmdPort=$slurmd
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$folder/munge.sock
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_min_interval=100000
MpiDefault=none
ReturnToService=2
KillWait=5
MinJobAge=600
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 RealMemory=6000 State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES MaxTime=60 State=UP
CONF
export SLURM_CONF="$folder/slurm.conf"
slurmctld -f "$SLURM_CONF" -c
slurmd -f "$SLURM_CONF" -N "$host" -c
for _ in $(seq 100); do
    state=$(sinfo -h -o %T 2>/dev/null || true)
    [ "$state" = idle ] && { echo "$SLURM_CONF"; exit 0; }
    sleep 0.2
done
echo "the node is not idle but '${state:-unknown}'; see $folder/*.log" >&2
tail -n 20 "$folder/slurmctld.log" "$folder/slurmd.log" >&2 || true
stop
exit 1
