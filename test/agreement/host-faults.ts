// Faults about host endpoints to plant into the compiler (faults.ts): who guards an interface, at which legs, what is asked of
// the own side, and how the legs of the table follow each other.
import { faultIn } from './faults.ts'

const interfaces = faultIn('calc/host-interfaces.ts')
const guard = faultIn('calc/guard.ts')
const resolve = faultIn('calc/resolve.ts')
const facts = faultIn('calc/node-facts.ts')
const policies = faultIn('policy/policies.ts')
const residual = faultIn('classify/residual.ts')
const classify = faultIn('classify/classify.ts')
const rows = faultIn('classify/rows.ts')
const outcomes = faultIn('render/nft/outcomes.ts')
const hosts = faultIn('render/nft/host-chains.ts')
const chains = faultIn('render/nft/static-chains.ts')

export const HOST_FAULTS = [
  interfaces('addresses find no endpoint', 'addresses.some(a => expectedIPs.includes(a))', 'addresses.length < 0'),
  interfaces('the last endpoint by name guards', '.name ? -1 : 1', '.name ? 1 : -1'),
  interfaces(
    'untracked policy is asked at every interface',
    "!(interfaceName === EVERY_INTERFACE && hook === 'untracked')",
    "interfaceName !== '' || hook !== 'host'",
  ),
  guard('a tier’s end denies before translation', "hook === 'prednat' || hook === 'untracked'", "hook === 'untracked'"),
  guard(
    'profiles are asked about what is forwarded',
    "=> hook === undefined || hook === 'host'",
    "=> hook === undefined || hook === 'host' || hook === 'forward'",
  ),
  guard('every policy is asked everywhere', ' && p.hooks.includes(hook)'),
  resolve('a host’s own selector is not asked', '...(own.selector ? [sets.selector(own.selector)] : []), '),
  resolve('a host’s own nets are not asked', '...(own.nets ? [sets.nets(own.nets)] : [])'),
  resolve('a host’s own notNets are not asked', '    ...(own.notNets ? [sets.nets(own.notNets)] : []),\n'),
  resolve('a host’s own port name is every address’s', ', ...(peerIn && { ownIn: peerIn })'),
  facts('a failsafe port is open to everybody', ', ...(parsed && { net: parsed })'),
  facts(
    'outbound failsafe ports are the inbound ones',
    'failsafes(spec.failsafeOutboundHostPorts) ??',
    'failsafes(spec.failsafeInboundHostPorts) ??',
  ),
  policies(
    'every policy applies on forward',
    "return applyOnForward ? ['host', 'forward']",
    "return true ? ['host', 'forward']",
  ),
  residual('own sets that exclude are not asked', ' || ownNotIn.some(id => vector.has(id))'),
  residual('one own set is enough', '!ownIn.every(', '!ownIn.some('),
  classify('every own address has one group', "if (key !== '') byOwn", "if (key === 'none') byOwn"),
  rows(
    'what nobody decides is denied everywhere',
    "kind: hook === undefined || hook === 'host' ? 'no-profile' : 'undecided'",
    "kind: hook === undefined || hook !== 'untracked' ? 'no-profile' : 'undecided'",
  ),
  outcomes(
    'what may be forwarded is not asked as it leaves',
    "      return [direction === 'ingress' ? goto('from_ok') : ACCEPT]\n    case 'host'",
    "      return [ACCEPT]\n    case 'host'",
  ),
  outcomes('what preDNAT policy allows is asked again', 'decided ? [SET_ACCEPT_MARK, ACCEPT] : [ACCEPT]', '[ACCEPT]'),
  outcomes(
    'what preDNAT policy does not decide is not asked again',
    'decided ? [SET_ACCEPT_MARK, ACCEPT] : [ACCEPT]',
    '[SET_ACCEPT_MARK, ACCEPT]',
  ),
  outcomes('what is untracked is tracked', "{ kind: 'notrack' }, "),
  hosts('what was allowed before is asked as it comes in', '...(marks ? [rule(ACCEPT_MARKED, marked)] : []), '),
  hosts('what was allowed before is asked before translation', 'untrackedIn ? marked : clear', 'clear'),
  hosts('what was allowed untracked is asked as it goes out', '      ...(untrackedOut ? [marked] : []),\n'),
  hosts('failsafe ports are open to what is forwarded', "  if (hook === 'forward') return []\n"),
  hosts('failsafe ports are the other direction’s', 'const [mine, theirs] = ingress', 'const [theirs, mine] = ingress'),
  hosts(
    'answers from failsafe ports are asked',
    "...(hook === 'untracked' ? failsafeRules(theirs, { port: 'th sport', addr }) : [])",
    '...[]',
  ),
  hosts(
    'failsafe nets are those of the own side',
    "const addr = ingress ? 'saddr' : 'daddr'",
    "const addr = ingress ? 'daddr' : 'saddr'",
  ),
  hosts('one’s own endpoint without a say is no endpoint', '!guard && !(every && guardOf(every))', '!guard'),
  hosts('what is forwarded is asked as the host’s own', "      rule(isNot('iif', { value: 0 }), ACCEPT),\n"),
  hosts('invalid packets to the host are judged', "...(hook === 'untracked' ? [] : statefulRules(settings)),"),
  hosts(
    'the own address is the peer’s',
    "host.direction === 'ingress' ? 'daddr' : 'saddr'",
    "host.direction === 'ingress' ? 'saddr' : 'daddr'",
  ),
  hosts('own nets have no group', "(['pod', 'net'] as const)", "(['pod'] as const)"),
  chains(
    'what pods send is not asked as it leaves',
    "        ...hosts.forwardEgress,\n        rule(ACCEPT),\n      ],\n    },\n    { name: 'to_host'",
    "        rule(ACCEPT),\n      ],\n    },\n    { name: 'to_host'",
  ),
  chains('what is forwarded is not asked as it comes in', '        ...hosts.forwardIngress,\n'),
] as const
