// Builds the lab's network: a namespace per node and one for the router, cables, addresses, forwarding. A lab may call `ip`;
// everything it says to one namespace goes there in one batch.
import { execFileSync } from 'node:child_process'
import { FAMILIES } from '../../core/net/addr.ts'
import { namedNetns } from '../../io/kernel/netns.ts'
import { writeSysctl } from '../../io/kernel/sysctl.ts'
import { type LabNode, NODES, names, OUTSIDE, RACKS } from './plan.ts'
import type { RunFolder } from './run-folder.ts'

/** The network card of a node, as far as the node knows. */
export const NODE_INTERFACE = 'eth0'

/** Runs lines of `ip -batch` in a namespace; an error names the line. */
export function ipBatch(namespace: string, lines: readonly string[]): void {
  try {
    execFileSync('ip', ['-n', namespace, '-batch', '-'], {
      input: `${lines.join('\n')}\n`,
      stdio: ['pipe', 'pipe', 'pipe'],
    })
  } catch (error) {
    const said = String((error as { stderr?: Buffer }).stderr).trim()
    const line = /Command failed -:(\d+)/.exec(said)?.[1]
    throw new Error(`ip in ${namespace}: ${line === undefined ? '' : `${lines[Number(line) - 1]}: `}${said}`)
  }
}

export function addNamespace(folder: RunFolder, name: string): void {
  folder.recordNamespace(name)
  execFileSync('ip', ['netns', 'add', name])
}

const addresses = (device: string, { address, rack }: Pick<LabNode, 'address' | 'rack'>): string[] =>
  // There is nobody to have the same address: no waiting for duplicate address detection.
  FAMILIES.map(
    family => `address add ${address[family]}/${rack.length[family]} dev ${device}${family === 6 ? ' nodad' : ''}`,
  )

function forward(namespace: string): void {
  const netns = namedNetns(namespace)
  writeSysctl('net/ipv4/ip_forward', 1, netns)
  writeSysctl('net/ipv6/conf/all/forwarding', 1, netns)
  writeSysctl('net/ipv6/conf/default/accept_dad', 0, netns)
}

/** The router's port of a node. */
const port = (node: LabNode): string => `to-${node.name}`

/** Plugs a node into the router, and gives it its addresses. `mac`: of the node's card; any unless given. */
function connect(prefix: string, one: LabNode, mac?: string): void {
  const { router, node } = names(prefix)
  forward(node(one.name))
  ipBatch(router, [
    `link add ${port(one)} type veth peer name ${NODE_INTERFACE} ${mac ? `address ${mac} ` : ''}netns ${node(one.name)}`,
    `link set ${port(one)} master ${one.rack.name}`,
    `link set ${port(one)} up`,
  ])
  ipBatch(node(one.name), [
    'link set lo up',
    ...addresses(NODE_INTERFACE, one),
    `link set ${NODE_INTERFACE} up`,
    ...FAMILIES.map(family => `route add default via ${one.rack.router[family]}`),
  ])
}

/** Builds the network. What it makes is in the run folder's record before it is made. */
export function buildTopology(folder: RunFolder, prefix: string): void {
  const { router, node } = names(prefix)
  for (const name of [router, ...NODES.map(({ name }) => node(name))]) addNamespace(folder, name)
  forward(router)
  // Each rack is a bridge in the router, also with one node on it: a segment is a segment.
  ipBatch(router, [
    'link set lo up',
    ...FAMILIES.map(family => `address add ${OUTSIDE[family]}/${family === 4 ? 32 : 128} dev lo`),
    ...RACKS.map(rack => `link add ${rack.name} type bridge`),
  ])
  for (const one of NODES) connect(prefix, one)
  ipBatch(
    router,
    // A bridge takes the lowest MAC of its ports: up last, so that it never changes under its neighbours.
    RACKS.flatMap(rack => [...addresses(rack.name, { address: rack.router, rack }), `link set ${rack.name} up`]),
  )
}

/** The MAC address of a node's card. */
function macOf(namespace: string): string {
  const printed = execFileSync('ip', ['-n', namespace, '-json', 'link', 'show', NODE_INTERFACE], { encoding: 'utf8' })
  return (JSON.parse(printed) as { address: string }[])[0]!.address
}

/** What is left of a node's network when its machine starts again: nothing but its card and addresses. */
export function renewNode(prefix: string, one: LabNode): void {
  const namespace = names(prefix).node(one.name)
  // The card is the same: its neighbours remember it.
  const mac = macOf(namespace)
  // The kernel takes a namespace apart some time after it has lost its name; the cable goes now.
  ipBatch(names(prefix).router, [`link delete ${port(one)}`])
  execFileSync('ip', ['netns', 'delete', namespace])
  execFileSync('ip', ['netns', 'add', namespace])
  connect(prefix, one, mac)
}
