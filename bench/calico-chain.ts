// The forward path of a linear policy in Calico's shape, as its nftables mode writes it: dispatch by interface, an endpoint
// chain, and for every rule two of them: set membership and port set a bit of the mark, the bit returns. A selector is an
// interval set. Its raw, mangle and nat chains are left out, which is kind to it.
import { portOf, RECEIVER, remoteAddress, SENDER, type Shape } from './scenario.ts'

const ACCEPTED = '0x00010000'
const clear = 'counter meta mark set meta mark & 0xfffcffff'
const mark = `counter meta mark set meta mark | ${ACCEPTED}`
const accepted = `meta mark & ${ACCEPTED} == ${ACCEPTED}`
const stateful = ['ct state established,related counter accept', 'ct state invalid counter drop', clear]

const chain = (name: string, rules: readonly string[]): string =>
  `chain ${name} {\n${rules.map(r => `\t\t${r}\n`).join('')}\t}`

const verdicts = (name: string, chains: string): string =>
  `map ${name} { type ifname : verdict; elements = { ${[SENDER, RECEIVER]
    .map(p => `"cali${p.name}" : goto ${chains}-cali${p.name}`)
    .join(', ')} }; }`

/** Text for `nft -f`: the same rules as `scenario` of that shape, the last one matching what the sender sends. */
export function calicoChain(shape: Shape): string {
  const rules = shape.policies * shape.rulesPerPolicy
  const members = (rule: number): string[] => {
    const remote = Array.from({ length: shape.members }, (_, i) => remoteAddress(rule * shape.members + i))
    return rule === rules - 1 ? [...remote.slice(1), SENDER.address] : remote
  }
  const sets = Array.from(
    { length: rules },
    (_, rule) => `set s${rule} { type ipv4_addr; flags interval; elements = { ${members(rule).join(', ')} }; }`,
  )
  const policies = Array.from({ length: shape.policies }, (_, p) =>
    chain(
      `p${p}`,
      Array.from({ length: shape.rulesPerPolicy }, (_, r) => {
        const rule = p * shape.rulesPerPolicy + r
        return [`ip saddr @s${rule} udp dport ${portOf(rule)} ${mark}`, `${accepted} counter return`]
      }).flat(),
    ),
  )
  const endpoint = (jumps: readonly string[]): string[] => [
    ...stateful,
    ...jumps.flatMap(j => [`meta mark & 0x00020000 == 0 counter jump ${j}`, `${accepted} counter return`]),
    'counter drop',
  ]
  const open = chain('pro', [mark])
  const toReceiver = Array.from({ length: shape.policies }, (_, p) => `p${p}`)
  const chains = [
    open,
    ...policies,
    chain(`tw-cali${SENDER.name}`, endpoint(['pro'])),
    chain(`tw-cali${RECEIVER.name}`, endpoint(toReceiver)),
    chain(`fw-cali${SENDER.name}`, endpoint(['pro'])),
    chain(`fw-cali${RECEIVER.name}`, endpoint(['pro'])),
  ]
  const dispatch = [
    chain('from-wl-dispatch', ['iifname vmap @from-wl', 'counter drop']),
    chain('to-wl-dispatch', ['oifname vmap @to-wl', 'counter drop']),
    chain('forward', [
      'type filter hook forward priority filter; policy accept;',
      'counter meta mark set meta mark & 0xffe5ffff',
      'iifname "cali*" counter jump from-wl-dispatch',
      'oifname "cali*" counter jump to-wl-dispatch',
      `${accepted} counter accept`,
    ]),
  ]
  const maps = [verdicts('from-wl', 'fw'), verdicts('to-wl', 'tw')]
  return `table ip calico {\n${[...sets, ...chains, ...maps, ...dispatch].map(o => `\t${o}\n`).join('')}}\n`
}
