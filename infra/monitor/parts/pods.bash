# Pods, and the workloads that must have some.
# Only what is read below: a large answer shrinks to a third before awk sees it.
# shellcheck disable=SC2016
readonly POD_FIELDS='{items: [.items[] | {metadata: (.metadata | {name, namespace, labels, creationTimestamp, deletionTimestamp, ownerReferences}),
  spec: {nodeName: .spec.nodeName, containers: [.spec.containers[]? | {name, ports, resources}],
  initContainers: [.spec.initContainers[]? | {name}], volumes: [.spec.volumes[]? | {persistentVolumeClaim}]}, status: .status}]}'

ALL_PODS=''  # yes once those of every namespace are known

look_at_pods() {
  : >"$WORK/pods"
  ALL_PODS=''
  list "$WORK/pods.json" pods pods pods "$POD_FIELDS" || return 1
  local without=''
  skipped stages && without=1
  if ! items "$WORK/pods.json" "$AWK_PODS" -v "EXPECT=$EXPECT" -v "NAMESPACES=$NAMESPACES" -v "SELECTOR=$SELECTOR" -v "SKIP_STAGES=$without" \
    -v "BY_LABELS=$BY_LABELS" -v "PARTIAL=$PARTIAL$UNSURE" >"$WORK/pods.out"; then
    malformed pods pods
    return 1
  fi
  sort_out "$WORK/pods.out" "$WORK/pods"
  [ -n "$PARTIAL" ] || ALL_PODS=yes
}
