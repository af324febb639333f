#!/usr/bin/env bash
# Says how QuantStream fares, on a Kubernetes cluster or on this machine (--local), and changes nothing.
# Built by infra/monitor/build of infra/monitor/parts and awk: change it there.
# Needs bash, awk, grep, sort and kubectl; jq makes large answers quicker where it is there. `--help` tells the rest.
set -uo pipefail
export LC_ALL=C
readonly PROGRAM=quantstream-monitor
readonly FINE=0 WARNING=1 CRITICAL=2 CANNOT_TELL=3
