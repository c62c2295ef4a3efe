// Which address of a node the others reach it at: Calico's methods. What several addresses would fit is said, with all of
// them, because a wrong guess shows itself only where somebody else's traffic goes.
import { failed, ok, type Result } from '../base/problem.ts'
import { type Addr, BITS, type Family, familyOf, parseAddr } from '../net/addr.ts'
import { type Prefix, parsePrefix, prefixContains } from '../net/prefix.ts'

export type Method =
  | { readonly kind: 'kubernetes-internal-ip' | 'first-found' }
  | { readonly kind: 'interface' | 'skip-interface'; readonly patterns: readonly RegExp[] }
  | { readonly kind: 'can-reach'; readonly target: string }
  | { readonly kind: 'cidr'; readonly cidrs: readonly Prefix[] }

const WORDS =
  'kubernetes-internal-ip, first-found, interface=REGEX, skip-interface=REGEX, can-reach=ADDRESS or cidr=CIDR'

function parsePatterns(kind: 'interface' | 'skip-interface', text: string): Result<Method> {
  const patterns: RegExp[] = []
  for (const one of text.split(',')) {
    try {
      patterns.push(new RegExp(one))
    } catch {
      return failed({ path: kind, message: 'is not a regular expression', value: one })
    }
  }
  return ok({ kind, patterns })
}

/** A method as Calico's IP_AUTODETECTION_METHOD writes it. */
export function parseMethod(text: string): Result<Method> {
  const [word, ...rest] = text.split('=')
  const value = rest.join('=')
  switch (word) {
    case 'first-found':
    case 'kubernetes-internal-ip':
      if (rest.length === 0) return ok({ kind: word })
      break
    case 'interface':
    case 'skip-interface':
      if (value !== '') return parsePatterns(word, value)
      break
    case 'can-reach':
      if (value !== '') return ok({ kind: word, target: value })
      break
    case 'cidr': {
      const parsed = value.split(',').map(cidr => ({ cidr, prefix: parsePrefix(cidr) }))
      const wrong = parsed.find(({ prefix }) => prefix === undefined)
      if (wrong) return failed({ path: word, message: 'is not a CIDR', value: wrong.cidr })
      return ok({ kind: word, cidrs: parsed.flatMap(({ prefix }) => prefix ?? []) })
    }
  }
  return failed({ path: '', message: 'is not a method of finding addresses', value: text, fix: `use ${WORDS}` })
}

export const printMethod = (method: Method): string => {
  if ('patterns' in method) return `${method.kind}=${method.patterns.map(p => p.source).join(',')}`
  if ('cidrs' in method) return `${method.kind}=${method.cidrs.join(',')}`
  return 'target' in method ? `${method.kind}=${method.target}` : method.kind
}

export type InterfaceAddress = { readonly interface: string; readonly address: Addr; readonly length: number }
export type NodeFacts = {
  /** In the kernel's order of interfaces, and of each in its order of addresses. */
  readonly interfaces: readonly {
    readonly name: string
    readonly up: boolean
    readonly addresses: readonly { readonly address: Addr; readonly length: number }[]
  }[]
  /** What the Kubernetes Node says of itself. */
  readonly internalIps: readonly Addr[]
  /** The address from which the kernel would speak to the target of `can-reach`. */
  readonly reaching?: Addr
}

export type Detected = {
  readonly chosen: InterfaceAddress
  /** What would have fitted as well. */
  readonly others: readonly InterfaceAddress[]
}

/** Interfaces of bridges, containers and tunnels, which are no way to the node: Calico's list. */
const NOT_FIRST = new RegExp(
  `^(${[
    ...[
      'docker',
      'cbr',
      'dummy',
      'podman',
      'virbr',
      'lxcbr',
      'veth',
      'lo',
      'br-',
      'cali',
      'tunl',
      'flannel',
      'kube-ipvs',
    ],
    ...['cni', 'vxlan\\.calico', 'vxlan-v6\\.calico', 'wireguard\\.cali', 'wg-v6\\.cali', 'nodelocaldns'],
  ].join('|')})`,
)
/** Global unicast: no loopback, link-local or multicast address reaches a node. */
function isGlobal(address: Addr): boolean {
  if (familyOf(address) === 4) return !/^(127|169\.254|0|22[4-9]|23\d|24\d|25[0-5])\./.test(address)
  return address !== '::1' && address !== '::' && !/^(fe[89ab]|ff)/.test(address)
}

function candidates(family: Family, facts: NodeFacts, isWanted: (name: string) => boolean): InterfaceAddress[] {
  return facts.interfaces
    .filter(({ name, up }) => up && isWanted(name))
    .flatMap(({ name, addresses }) => addresses.map(({ address, length }) => ({ interface: name, address, length })))
    .filter(({ address }) => familyOf(address) === family && isGlobal(address))
}

/** The node's address of a family. A problem says what there is instead. */
export function detectAddress(method: Method, family: Family, facts: NodeFacts): Result<Detected> {
  const all = candidates(family, facts, () => true)
  const found = select(method, family, facts)
  const [chosen, ...others] = found
  if (chosen !== undefined) return ok({ chosen, others })
  const there = all.map(c => `${c.address} on ${c.interface}`).join(', ') || `no IPv${family} address on any interface`
  const wanted =
    method.kind === 'kubernetes-internal-ip'
      ? `InternalIP ${facts.internalIps.filter(ip => familyOf(ip) === family).join(', ') || `of IPv${family}: none`}`
      : printMethod(method)
  return failed({
    path: `IPv${family}`,
    message: `no address of this node fits ${wanted}; it has: ${there}`,
    fix: `name a method that fits: ${WORDS}`,
  })
}

function select(method: Method, family: Family, facts: NodeFacts): InterfaceAddress[] {
  const all = candidates(family, facts, () => true)
  switch (method.kind) {
    case 'kubernetes-internal-ip':
      return all.filter(({ address }) => facts.internalIps.includes(address)).slice(0, 1)
    case 'first-found':
      return candidates(family, facts, name => !NOT_FIRST.test(name))
    case 'interface':
      // In the order of the patterns.
      return method.patterns.flatMap(pattern => candidates(family, facts, name => pattern.test(name)))
    case 'skip-interface':
      return candidates(family, facts, name => !NOT_FIRST.test(name) && !method.patterns.some(p => p.test(name)))
    case 'can-reach':
      return all.filter(({ address }) => address === facts.reaching).slice(0, 1)
    case 'cidr':
      return all.filter(({ address }) => method.cidrs.some(cidr => prefixContains(cidr, address)))
  }
}

/** `a.b.c.d` or `a.b.c.d/m` as the environment variable IP gives it; the length of the interface's that has it, else all bits. */
export function explicitAddress(text: string, facts: NodeFacts): Result<InterfaceAddress> {
  const [base, bits] = text.split('/')
  const address = parseAddr(base!)
  if (address === undefined) return failed({ path: '', message: 'is not an address', value: text })
  const there = candidates(familyOf(address), facts, () => true).find(c => c.address === address)
  const length = bits === undefined ? (there?.length ?? BITS[familyOf(address)]) : Number(bits)
  return ok({ interface: there?.interface ?? '', address, length })
}
