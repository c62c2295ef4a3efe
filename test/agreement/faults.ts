// Faults to plant into the compiler, one at a time, to show that the judges judge: each is a piece of its source that stands
// there exactly once, and what stands there instead. `find` must follow when the source changes; a test says which.
export type Fault = {
  readonly name: string
  /** Below src/core. */
  readonly file: string
  readonly find: string
  readonly put: string
}

export const faultIn =
  (file: string) =>
  (name: string, find: string, put = ''): Fault => ({ name, file, find, put })

const residual = faultIn('classify/residual.ts')
const split = faultIn('classify/split.ts')
const rows = faultIn('classify/rows.ts')
const row = faultIn('classify/row.ts')
const atoms = faultIn('classify/atoms.ts')
const classify = faultIn('classify/classify.ts')
const outcome = faultIn('classify/outcome.ts')
const resolve = faultIn('calc/resolve.ts')
const sets = faultIn('calc/sets.ts')
const guard = faultIn('calc/guard.ts')
const compute = faultIn('calc/compute.ts')
const policies = faultIn('policy/policies.ts')
const rules = faultIn('policy/rules.ts')

/** Where residual rules keep their ports; the next lines stand in two functions. */
const KEPT = '    ...rule,\n    ...(dports && { dports: keep(dports) }),\n'

/** In what decides: from resources to rows and outcomes. */
export const CLASSIFIER_FAULTS: readonly Fault[] = [
  residual('only the first of the peer’s sets is asked', 'rule.peerIn.every(', 'rule.peerIn.slice(0, 1).every('),
  residual('excluded sets are not asked', ' || rule.peerNotIn.some(id => vector.has(id))'),
  residual('the first excluded set is not asked', 'rule.peerNotIn.some(', 'rule.peerNotIn.slice(1).some('),
  residual('a port name is everybody’s', 't.peerIn === undefined || vector.has(t.peerIn)', 'true'),
  residual(
    'an excluded port name is everybody’s',
    `${KEPT}    ...(notDports && { notDports: keep(notDports) }),\n`,
    KEPT,
  ),
  residual(
    'a source port name is everybody’s',
    `${KEPT}    ...(notDports && { notDports: keep(notDports) }),\n    ...(sports && { sports: keep(sports) }),\n`,
    `${KEPT}    ...(notDports && { notDports: keep(notDports) }),\n`,
  ),
  residual('a port name is of every protocol', 't.protocol === undefined || t.protocol === protocol', 'true'),
  residual('ICMP codes are not asked', '(want.code === undefined || want.code === cell.code)', 'true'),
  residual('ICMP types are not asked', '(want.type === undefined || want.type === cell.type)', 'true'),
  residual(
    'notProtocol is not asked',
    '  if (rule.notProtocol !== undefined && rule.notProtocol === cell.protocol) return false\n',
  ),
  residual('icmp is not asked', '  if (rule.icmp && !(isIcmp && typeMatches(rule.icmp, cell))) return false\n'),
  residual(
    'notICMP is not asked',
    '  if (rule.notIcmp && (!isIcmp || typeMatches(rule.notIcmp, cell))) return false\n',
  ),
  residual('notICMP lets other protocols through', '(!isIcmp || typeMatches', '(isIcmp && typeMatches'),
  residual('ICMPv6 is ICMP', '(family === 4 ? 1 : 58)', '1'),
  residual(
    'what has no ports meets ports',
    'if (rule.dports || rule.sports) return false',
    'if (rule.sports) return false',
  ),
  residual(
    'what has no ports meets source ports',
    'if (rule.dports || rule.sports) return false',
    'if (rule.dports) return false',
  ),
  residual(
    'notPorts is not asked',
    '    if (inRanges(rangesFor(rule.notDports, cell.protocol), dport)) return false\n',
  ),
  residual('source ports are not asked', 'condition.sports = sports', 'void sports'),
  residual(
    'excluded source ports are not asked',
    'if (notSports.length > 0) condition.notSports = notSports',
    'void notSports',
  ),
  residual('own addresses are not asked', '  if (rule.ownAddresses) condition.ownAddresses = rule.ownAddresses\n'),
  rows(
    'Pass skips a stage',
    ": this.#steps(stages, from + 1, cell)\n      case 'Allow':",
    ": this.#steps(stages, from + 2, cell)\n      case 'Allow':",
  ),
  rows(
    'a tier’s default is Deny',
    "if (stage.defaultAction === 'Pass')",
    "if (stage.defaultAction === 'Pass' && stage.kind === 'profile')",
  ),
  rows('logs are forgotten', 'return this.#place?.staged ? [] : [logStep(rule, stages[from]!)]', 'return []'),
  rows('a part decides for its stage', '    if (this.#place?.part) return [...steps, NEXT]\n'),
  rows('a Pass in a part goes on in its stage', "[{ kind: 'next', to: 'pass' }]", '[NEXT]'),
  split('a part’s first rule is lost', 'stage.rules.slice(begin) }', 'stage.rules.slice(begin + 1) }'),
  rows('conditions are forgotten', 'taken.map(step => under(matched, step))', 'taken'),
  rows(
    'a condition replaces those of the stage before',
    'when: [condition, ...(step.when ?? [])]',
    'when: [condition]',
  ),
  rows(
    'port ranges of rules for every protocol are not cut',
    'r.protocol === undefined || r.protocol === protocol)',
    'r.protocol === protocol)',
  ),
  rows('neighbouring port ranges are one', 'if (before?.outcome === outcome)', 'if (before)'),
  rows(
    'a port range is its first port',
    'entries.push({ protocol, first, last, outcome })',
    'entries.push({ protocol, first, last: first, outcome })',
  ),
  rows('a code like all others has no entry beside its type', 'if (outcome !== ofType)', 'if (outcome !== base)'),
  rows(
    'types that notICMP names have no entry',
    'rules.flatMap(r => [r.icmp, r.notIcmp])',
    'rules.flatMap(r => [r.icmp])',
  ),
  rows(
    'a protocol that is excluded has no entry',
    '      if (rule.notProtocol !== undefined) named.add(rule.notProtocol)\n',
  ),
  rows('ICMP that notICMP names has no entry', 'if (rule.icmp || rule.notIcmp) named', 'if (rule.icmp) named'),
  rows(
    'protocols of excluded ports have no entry',
    'of [rule.dports, rule.notDports, rule.sports, rule.notSports].flatMap',
    'of [rule.dports].flatMap',
  ),
  rows('protocols have no entry', 'if (base !== otherwise) protocols', 'if (base === otherwise) protocols'),
  rows(
    'a tier’s denial is told as the profiles’',
    "? { kind: 'tier', tier: stage.name, direction }",
    "? { kind: 'no-profile', direction }",
  ),
  rows(
    'what is enforced is judged as staged',
    'const staged = this.#place ? [] : stages.filter(s => s.staged)',
    'const staged = this.#place ? [] : stages.filter(s => !s.staged)',
  ),
  row('a range ends one port early', 'dport <= e.last', 'dport < e.last'),
  row('the first entry of a type is taken', 'types.find(e => e.code === icmp.code) ?? ', ''),
  row('an entry of another protocol is taken', 'e.protocol === protocol && e.first', 'e.first'),
  atoms('exact entries are not asked', 'atoms.exact.get(addr) ?? ', ''),
  atoms('an address is in no net', 'atomKey(new Set([...ids, ...vectors.get(around)!]))', 'atomKey(new Set(ids))'),
  atoms('a net ends one address late', 'edge(range.last + 1n)', 'edge(range.last + 2n)'),
  atoms('a net ends with the one inside it', 'if (depth === 0) inside.delete(id)', 'if (depth >= 0) inside.delete(id)'),
  atoms('the first address of a net is outside', 'cover[mid]!.first <= n', 'cover[mid]!.first < n'),
  classify(
    'only two sets of an address count',
    'filter(id => relevant.has(id)))',
    'filter(id => relevant.has(id)).slice(0, 2))',
  ),
  classify('the peer is always the source', "direction === 'ingress' ? packet.src : packet.dst", 'packet.src'),
  classify(
    'groups do not know their own side',
    'groupName({ direction }, guard.identity)',
    "groupName({ direction }, guard.identity.split(';')[0]!)",
  ),
  classify('IPv6 is judged as IPv4', '6: tableOf(guard.programs[6])', '6: tableOf(guard.programs[4])'),
  outcome(
    'outcomes of the same end are one',
    'JSON.stringify([direction, steps, ',
    'JSON.stringify([direction, steps.at(-1), ',
  ),
  resolve('egress rules are read as ingress', ': [rule.source, rule.destination]', ': [rule.destination, rule.source]'),
  resolve('the own selector is not asked', '      (!own.selector || selects(own.selector, a)) &&\n'),
  resolve('the own notSelector is not asked', '      !(own.notSelector && selects(own.notSelector, a)) &&\n'),
  resolve('own nets are not asked', '      (!own.nets || own.nets.some(n => prefixContains(n, a))) &&\n'),
  resolve('own notNets are not asked', '!own.notNets?.some(n => prefixContains(n, a))', 'true'),
  resolve(
    'a rule is for both families',
    'const { self, direction, family } = place\n  if (!rule.families.includes(family)) return undefined\n',
    'const { self, direction, family } = place\n',
  ),
  resolve(
    'a service is anybody',
    "  if (peer.service && place.direction === 'ingress') peerIn.push(sets.service(peer.service))\n",
  ),
  resolve('the ports of a service are not asked', 'served ?? terms(peer.ports)', 'terms(peer.ports)'),
  resolve('one own address stands for all', 'matching.length < all.length && ', 'false && '),
  resolve(
    'an own port name is not asked for the selector',
    'const selected = !own.selector || ',
    'const selected = true || ',
  ),
  resolve('peer notNets are nets', 'peerNotIn.push(sets.nets(peer.notNets))', 'peerIn.push(sets.nets(peer.notNets))'),
  resolve('peer nets are not asked', '  if (peer.nets) peerIn.push(sets.nets(peer.nets))\n'),
  resolve(
    'the peer’s notSelector is not asked',
    '  if (peer.notSelector) peerNotIn.push(sets.selector(peer.notSelector))\n',
  ),
  resolve('egress asks its own ports', 'const dports = ingress ? own.ports : peerPorts', 'const dports = own.ports'),
  resolve(
    'excluded source ports are the own ones',
    'const notSports = ingress ? peerNotPorts : own.notPorts',
    'const notSports = own.notPorts',
  ),
  sets(
    'a port name is not asked for the selector',
    '      if (selector && !matches(selector, lookup(member.labels))) continue\n',
  ),
  sets(
    'single addresses of network sets are forgotten',
    '...selected.flatMap(m => m.addresses), ...nets.addresses',
    '...selected.flatMap(m => m.addresses)',
  ),
  sets('nets of network sets are forgotten', 'addresses, prefixes: nets.prefixes', 'addresses, prefixes: []'),
  sets('every port has every name', 'p.name === name && ', ''),
  guard('types are not asked', 'p.types.includes(direction) && ', ''),
  guard('a tier denies whom it does not select', 'lists.length === 0 ? [] :', 'all.length === 0 ? [] :'),
  guard(
    'staged policies are enforced',
    'return tiers ? withStaged(enforced, sourcesOf({ tiers, profiles }, self, at)) : enforced',
    'return tiers ? sourcesOf({ tiers, profiles }, self, at) : enforced',
  ),
  compute(
    'network sets do not inherit their namespace’s labels',
    'member(networkSetLabels(s, profile), s.spec.nets)',
    'member(s.metadata.labels ?? {}, s.spec.nets)',
  ),
  policies(
    'the order of policies is their names’',
    'compare(a.order, b.order) || compare(tie(a), tie(b))',
    'compare(tie(a), tie(b))',
  ),
  policies(
    'ties are broken backwards',
    'compare(a.order, b.order) || compare(tie(a), tie(b))',
    'compare(a.order, b.order) || compare(tie(b), tie(a))',
  ),
  policies(
    'the order of tiers is their names’',
    'compare(a.order, b.order) || compare(a.name, b.name)',
    'compare(a.name, b.name)',
  ),
  rules(
    'notSelector reaches beyond the namespace',
    'entity.selector || entity.notSelector || entity.namespaceSelector',
    'entity.selector || entity.namespaceSelector',
  ),
  rules('global() is all()', 'has(NAMESPACE), not(has(NAMESPACE)))', 'has(NAMESPACE), has(NAMESPACE))'),
  rules(
    'service account names are not asked',
    "  if (accounts?.names?.length) terms.push(inSet(SERVICE_ACCOUNT, 'in', accounts.names))\n",
  ),
  rules('ICMP is for both families', "      !(rule.protocol === 'ICMP' && family === 6) &&\n"),
]

const outcomes = faultIn('render/nft/outcomes.ts')
const elements = faultIn('render/nft/elements.ts')
const layout = faultIn('render/nft/layout.ts')
const chains = faultIn('render/nft/static-chains.ts')
const group = faultIn('render/nft/group.ts')

/** In what becomes the table, which the classification knows nothing of. */
export const TABLE_FAULTS: readonly Fault[] = [
  outcomes(
    'excluded source ports are wanted',
    "add('th sport', '!=', portsOperand(notSports))",
    "add('th sport', '==', portsOperand(notSports))",
  ),
  outcomes(
    'what a pod may send every pod receives',
    "return [direction === 'egress' ? goto('from_ok') : ACCEPT]",
    'return [ACCEPT]',
  ),
  outcomes(
    'the own address is the peer’s',
    "direction === 'ingress' ? 'daddr' : 'saddr'",
    "direction === 'ingress' ? 'saddr' : 'daddr'",
  ),
  outcomes('every staged cause that applies is counted', 'statements: [...statements, priority(0)]', 'statements'),
  elements(
    'a range of ports is its first',
    '[protocol, { from: first, to: last }]',
    '[protocol, { from: first, to: first + 1 }]',
  ),
  elements('codes have no element', '[type, code], outcome)', '[type, code + 1], outcome)'),
  chains(
    'ports are asked after protocols',
    "      rule(ask('by_port', L4, 'th dport')),\n",
    "      rule(ask('by_proto', L4)),\n      rule(ask('by_port', L4, 'th dport')),\n",
  ),
  chains('what pods may send to the host is accepted', 'Drop: DROP,', 'Drop: ACCEPT,'),
  layout('invalid packets are judged', 'settings.conntrackInvalidCheck', '!settings.conntrackInvalidCheck'),
  group(
    'peers that have no row are dropped',
    'return rowMap(name, [...entries, otherwiseElement(table.otherwise, n)], titleOf(group))',
    'return rowMap(name, entries, titleOf(group))',
  ),
  group('parts after a Pass are asked', 'map(part => go(part, undecided))', 'map(part => go(part))'),
  group(
    'what is staged is judged on after it was decided',
    '...(i === 0 ? [] : [notDone])',
    '...(i < 0 ? [notDone] : [])',
  ),
]
