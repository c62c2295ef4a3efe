// BIRD 2's configuration as text. Names in it are made of fixed words and addresses, so that no user's text is ever a symbol;
// lists are sorted, so that equal configurations give equal text and BIRD is asked to reload only when something changed.
import { assertNever } from '../base/problem.ts'
import { type Addr, BITS, FAMILIES, type Family, familyOf } from '../net/addr.ts'
import { hostPrefix, type Prefix, prefixFamily, prefixLength } from '../net/prefix.ts'
import type { BirdConfig, BirdPeer, LogLevel, PeerKind } from './config.ts'
import { quoteExactly, quotePattern, quoteText } from './quote.ts'

const PREFIX_OF_KIND: Readonly<Record<PeerKind, string>> = { mesh: 'Mesh', node: 'Node', global: 'Global' }

/** The name of a session's protocol in BIRD, as Calico spells it: `Global_10_0_0_1`, `Node_fd00__1_port_1790`. */
export function protocolName(peer: Pick<BirdPeer, 'kind' | 'address' | 'port'>): string {
  const port = peer.port === undefined ? '' : `_port_${peer.port}`
  return `${PREFIX_OF_KIND[peer.kind]}_${peer.address.replaceAll(/[.:]/g, '_')}${port}`
}

/** Debugging words are for whoever asked for them: they fill a disk. */
function logClasses(level: LogLevel): string {
  switch (level) {
    case 'Trace':
    case 'Debug':
      return 'all'
    case 'Info':
      return '{ info, remote, warning, error, auth, fatal, bug }'
    case 'Warning':
      return '{ warning, error, auth, fatal, bug }'
    case 'Error':
      return '{ error, fatal, bug }'
    case 'Fatal':
      return '{ fatal, bug }'
    default:
      return assertNever(level)
  }
}

/** Two files of this size are all that the log takes: BIRD moves the full one aside. */
const LOG_BYTES = 5_000_000

function logLines({ log }: BirdConfig): string[] {
  if (log === undefined) return ['log stderr all;']
  const debug =
    log.level === 'Trace' ? ['debug protocols all;'] : log.level === 'Debug' ? ['debug protocols { states };'] : []
  const files = `${quoteExactly(log.file)} ${LOG_BYTES} ${quoteExactly(`${log.file}.old`)}`
  return [`log ${files} ${logClasses(log.level)};`, ...debug]
}

const sorted = <T extends string>(list: readonly T[], family: Family): T[] =>
  [...new Set(list)].filter(item => familyOf(item) === family).sort()

/** `if <more and> net ~ [ … ] then <verdict>;`, or nothing for an empty list: BIRD has no empty set of prefixes. */
function ifIn(prefixes: readonly string[], verdict: 'accept' | 'reject', more = ''): string[] {
  return prefixes.length === 0 ? [] : [`  if ${more}net ~ [ ${prefixes.join(', ')} ] then ${verdict};`]
}

const within = (p: Prefix): string => `${p}+`

/** The prefixes inside a block, the block itself left out; a block of one address has none. */
function inside(block: Prefix): string[] {
  const [length, bits] = [prefixLength(block), BITS[prefixFamily(block)]]
  return length === bits ? [] : [`${block}{${length + 1},${bits}}`]
}

function filters(config: BirdConfig, family: Family): string[] {
  const blocks = sorted(config.blocks, family)
  return [
    `filter to_peers${family} {`,
    ...ifIn(sorted(config.notExported, family).map(within), 'reject'),
    ...ifIn(blocks, 'accept', 'source = RTS_STATIC && '),
    // A borrowed address is told while the kernel has a route to its pod, not before and not after.
    ...ifIn(sorted(config.borrowed, family), 'accept', 'source = RTS_INHERIT && '),
    ...ifIn(blocks.flatMap(inside), 'reject'),
    ...ifIn(sorted(config.pools, family).map(within), 'accept', 'source = RTS_BGP && '),
    '  reject;',
    '}',
    `filter to_kernel${family} {`,
    ...ifIn(sorted(config.notProgrammed, family).map(within), 'reject'),
    '  if source ~ [ RTS_BGP, RTS_STATIC ] then accept;',
    '  reject;',
    '}',
  ]
}

function staticRoutes(config: BirdConfig, family: Family): string[] {
  const blocks = sorted(config.blocks, family).map(block => `  route ${block} blackhole;`)
  const reach = config.peers.flatMap(({ address, reachableBy }) =>
    reachableBy !== undefined && familyOf(address) === family
      ? [`  route ${hostPrefix(address)} via ${reachableBy};`]
      : [],
  )
  const routes = (name: string, lines: readonly string[]): string[] =>
    lines.length === 0 ? [] : [`protocol static ${name}${family} {`, `  ipv${family};`, ...lines, '}']
  return [...routes('blocks', blocks), ...routes('reach', [...new Set(reach)].sort())]
}

function kernel(config: BirdConfig, family: Family): string[] {
  return [
    `protocol kernel kernel${family} {`,
    `  metric ${config.metric[family]};`,
    // Routes outlive BIRD: a restart must not cost a connection.
    '  persist;',
    '  learn;',
    '  scan time 2;',
    '  merge paths on;',
    '  graceful restart;',
    `  ipv${family} { import all; export filter to_kernel${family}; };`,
    '}',
  ]
}

const NEXT_HOP = { auto: [], self: ['next hop self;'], keep: ['next hop keep;'] } as const

function session(config: BirdConfig, peer: BirdPeer): string[] {
  const family = familyOf(peer.address)
  const listen = config.listenPort === 179 ? '' : ` port ${config.listenPort}`
  const port = peer.port === undefined ? '' : ` port ${peer.port}`
  const source: Addr | '' = peer.source ?? ''
  const setting = (words: string, value: number | undefined): string[] =>
    value === undefined ? [] : [`  ${words} ${value};`]
  const channel = ['import all;', `export filter to_peers${family};`, 'add paths on;', ...NEXT_HOP[peer.nextHop]]
  return [
    `protocol bgp ${protocolName(peer)} {`,
    `  description ${quoteText(peer.name)};`,
    `  local${source === '' ? '' : ` ${source}`}${listen} as ${peer.localAs ?? config.localAs};`,
    `  neighbor ${peer.address}${port} as ${peer.as};`,
    // GTSM counts hops itself; without it a peer may be any number of hops away.
    ...(peer.ttlSecurity === undefined ? ['  multihop;'] : [`  multihop ${peer.ttlSecurity};`, '  ttl security on;']),
    // Without an address of its own a session has nothing to be strict about, and BIRD refuses it.
    ...(config.strictBind && peer.source !== undefined ? ['  strict bind on;'] : []),
    ...(peer.passive ? ['  passive on;'] : []),
    ...(peer.password === undefined ? [] : [`  password ${quoteExactly(peer.password)};`]),
    ...setting('allow local as', peer.allowLocalAs),
    ...setting('hold time', peer.holdTime),
    ...setting('keepalive time', peer.keepaliveTime),
    ...(peer.reflectAs === undefined ? [] : ['  rr client;', `  rr cluster id ${peer.reflectAs};`]),
    '  connect delay time 2;',
    '  connect retry time 5;',
    '  error wait time 5, 30;',
    '  graceful restart on;',
    `  graceful restart time ${peer.restartTime};`,
    `  ipv${family} { ${channel.join(' ')} };`,
    '}',
  ]
}

/** The interfaces of pods and of kube-proxy: their addresses are not routes of this node. */
const NEVER_DIRECT = ['cali*', 'kube-ipvs*']

/** The whole configuration file. Equal values give equal text. Throws on a password or log path that BIRD cannot read. */
export function renderBird(config: BirdConfig): string {
  const excluded = [...NEVER_DIRECT, ...config.ignoredInterfaces].map(pattern => `-${quotePattern(pattern)}`)
  const peers = new Map(config.peers.map(peer => [protocolName(peer), peer]))
  const sessions = [...peers.keys()].sort().flatMap(name => session(config, peers.get(name)!))
  const lines = [
    '# Written by gingham: changes here are lost.',
    ...logLines(config),
    `router id ${config.routerId};`,
    // What control.ts reads: date and time, without the relative forms.
    'timeformat protocol iso long;',
    'protocol device {',
    '  scan time 2;',
    '}',
    'protocol direct direct1 {',
    '  ipv4;',
    '  ipv6;',
    `  interface ${excluded.join(', ')}, "*";`,
    '}',
    ...FAMILIES.flatMap(family => [
      ...filters(config, family),
      ...staticRoutes(config, family),
      ...kernel(config, family),
    ]),
    ...sessions,
  ]
  return `${lines.join('\n')}\n`
}
