// The top-of-rack router's BIRD. It is not ours to configure in a real network, so this is written as an operator would:
// it waits for the nodes (AS 64512) to connect, tells each what the others told it, and keeps the next hop of a node that is
// on the same segment as the listener, so that node-a reaches node-b directly.
import { FAMILIES, type Family } from '../../core/net/addr.ts'
import { Bird } from '../../io/bird/bird.ts'
import { type LabNode, NODE_AS, NODES, names, RACKS, ROUTER_AS } from './plan.ts'
import type { RunFolder } from './run-folder.ts'

const session = ({ name, rack, address }: LabNode, family: Family): string => `
protocol bgp ${name.replaceAll('-', '_')}_${family} {
  description "${name}";
  local ${rack.router[family]} as ${ROUTER_AS};
  neighbor ${address[family]} as ${NODE_AS};
  direct;
  passive on;
  graceful restart on;
  ipv${family} { import all; export where source = RTS_BGP; };
}`

const kernel = (family: Family): string => `
protocol kernel kernel${family} {
  persist;
  scan time 5;
  ipv${family} { import none; export where source = RTS_BGP; };
}`

export const renderRouter = (): string => `# The lab's router.
log stderr { warning, error, auth, fatal, bug };
router id ${RACKS[0]!.router[4]};
timeformat protocol iso long;
protocol device {
  scan time 5;
}
protocol direct direct1 {
  ipv4;
  ipv6;
}
${FAMILIES.map(kernel).join('\n')}
${FAMILIES.flatMap(family => NODES.map(node => session(node, family))).join('\n')}
`

/** Starts it in its namespace, which is there. */
export async function startRouter(folder: RunFolder, prefix: string, onTrouble: (what: string) => void): Promise<Bird> {
  const command = ['ip', 'netns', 'exec', names(prefix).router, 'bird']
  const bird = new Bird({ folder: folder.folder('router'), command, onTrouble })
  await bird.apply(renderRouter())
  return bird
}
