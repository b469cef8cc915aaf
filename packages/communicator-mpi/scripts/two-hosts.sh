#!/bin/sh
# two-hosts.sh COMMAND...: COMMAND on two ranks, each on a host of its own: two network namespaces with a cable between them, which
# Open MPI reaches by its addresses as it would two machines. Linux, as root, with iproute2.
set -e
one=lazy-one-$$ two=lazy-two-$$ folder=$(mktemp -d)
trap 'ip netns del $one 2>/dev/null; ip netns del $two 2>/dev/null; rm -r "$folder"' EXIT
ip netns add $one
ip netns add $two
ip link add lz0 netns $one type veth peer name lz0 netns $two
ip netns exec $one ip addr add 10.213.0.1/24 dev lz0
ip netns exec $two ip addr add 10.213.0.2/24 dev lz0
for host in $one $two; do
  ip netns exec $host ip link set lo up
  ip netns exec $host ip link set lz0 up
done
# In the place of ssh: the address, then what to run there.
cat > "$folder/agent" <<AGENT
#!/bin/sh
shift
exec ip netns exec $two sh -c "\$*"
AGENT
chmod +x "$folder/agent"
subnet=10.213.0.0/24
ip netns exec $one mpirun --mca plm_rsh_agent "$folder/agent" --mca oob_tcp_if_include $subnet --mca btl_tcp_if_include $subnet \
  --mca btl self,tcp --host 10.213.0.1:1,10.213.0.2:1 -n 2 "$@"
