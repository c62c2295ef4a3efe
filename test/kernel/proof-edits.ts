// Random edits of a live table, as nft scripts: what a person, another program or a bug of ours may do to it.

import { type Dice, pick } from '../support/dice.ts'

type Rule = { readonly handle: string; readonly text: string }
type Chain = { readonly name: string; readonly head: string; readonly rules: readonly Rule[] }
type SetText = { readonly name: string; readonly isMap: boolean; readonly elements: readonly string[] }
export type Listing = { readonly chains: readonly Chain[]; readonly sets: readonly SetText[]; readonly text: string }

/** Reads `nft -n -a list table`. */
export function parseListing(text: string): Listing {
  const chains: Chain[] = []
  const sets: SetText[] = []
  const body = /^\t(set|map|chain) (\S+) \{.*\n((?:\t\t.*\n)*)\t\}$/gm
  for (const [, kind, name = '', lines = ''] of text.matchAll(body)) {
    if (kind === 'chain') {
      const all = lines.split('\n').map(l => l.trim())
      const rules = all.flatMap(l => {
        const rule = /^(.*) # handle (\d+)$/.exec(l)
        return rule && !l.startsWith('type ') ? [{ text: rule[1]!, handle: rule[2]! }] : []
      })
      chains.push({ name, head: all.find(l => l.startsWith('type ')) ?? '', rules })
    } else {
      const list = /elements = \{([\s\S]*?)\}/.exec(lines)?.[1] ?? ''
      const elements = list
        .split(',')
        .map(e => e.trim())
        .filter(e => e !== '')
      sets.push({ name, isMap: kind === 'map', elements })
    }
  }
  return { chains, sets, text }
}

const T = 'inet gingham'
const MATCHES = [
  '',
  'meta l4proto tcp',
  'tcp dport 80',
  'th dport 50-8080',
  'ip saddr 10.1.1.1',
  'ip saddr 10.0.0.0/8',
  'ip6 daddr fd00:1::2',
  'ip daddr 192.0.2.0/24',
  'iifname "eth0"',
  'iifname "cali*"',
  'icmp type 8',
  'ct state 2',
  'meta l4proto { 6, 17 }',
  'meta nfproto ipv6',
  'th sport != 53',
]
const HOOKS = ['prerouting', 'input', 'forward', 'postrouting'] as const

const keyOf = (element: string): string => element.replace(/ : .*$/, '').replace(/ comment ".*"$/, '')
const other = (text: string, d: Dice): string => {
  const numbers = [...text.matchAll(/\b\d+\b/g)]
  if (numbers.length === 0) return text
  const n = pick(d, numbers)
  return `${text.slice(0, n.index)}${Number(n[0]) + 1 + d(3)}${text.slice(n.index! + n[0].length)}`
}

const KINDS: Readonly<Record<string, (l: Listing, d: Dice) => string | undefined>> = {
  'element removed': (l, d) => {
    const set = withElements(l, d)
    return set && `delete element ${T} ${set.name} { ${keyOf(pick(d, set.elements))} }`
  },
  'element changed': (l, d) => {
    const set = withElements(l, d, true)
    if (!set) return undefined
    const element = pick(d, set.elements)
    const values = [
      ...set.elements.map(e => e.replace(/^.* : /, '')),
      ...(/goto/.test(element) ? ['accept', 'drop', 'return'] : []),
    ]
    const key = keyOf(element)
    return `delete element ${T} ${set.name} { ${key} }\nadd element ${T} ${set.name} { ${key} : ${pick(d, values)} }`
  },
  'element added': (l, d) => {
    const set = withElements(l, d)
    if (!set) return undefined
    const element = pick(d, set.elements)
    const value = set.isMap ? pick(d, set.elements).replace(/^.* : /, ' : ') : ''
    return `add element ${T} ${set.name} { ${other(keyOf(element), d)}${value} }`
  },
  'rule deleted': (l, d) => {
    const chain = withRules(l, d)
    return chain && `delete rule ${T} ${chain.name} handle ${pick(d, chain.rules).handle}`
  },
  'rule inserted': (l, d) => {
    const chain = withRules(l, d)
    const say = pick(d, [
      'accept',
      'drop',
      'return',
      'counter',
      'log prefix "x"',
      'meta mark set 5',
      `goto ${pick(d, l.chains).name}`,
    ])
    return (
      chain &&
      `${pick(d, ['insert', 'add'])} rule ${T} ${chain.name} position ${pick(d, chain.rules).handle} ${pick(d, MATCHES)} ${say}`
    )
  },
  'rule replaced': (l, d) => {
    const chain = withRules(l, d)
    if (!chain) return undefined
    const rule = pick(d, chain.rules)
    const [, body = '', comment = ''] = /^(.*?)( comment ".*")?$/.exec(rule.text)!
    const changed = pick(d, [
      () => body.replace(/\b(accept|drop)$/, w => (w === 'drop' ? 'accept' : 'drop')),
      () => body.replace(/goto \S+/, `goto ${pick(d, l.chains).name}`),
      () => other(body, d),
      () => `${pick(d, MATCHES)} ${body}`,
      () => `${body} ${pick(d, ['', 'accept', 'drop'])}`,
      () => pick(d, ['accept', 'drop', 'counter', 'continue']),
    ])()
    return `replace rule ${T} ${chain.name} handle ${rule.handle} ${changed}${comment}`
  },
  'comment changed': (l, d) => {
    const chain = withRules(l, d, r => r.text.includes('comment'))
    if (!chain) return undefined
    const rule = pick(
      d,
      chain.rules.filter(r => r.text.includes('comment')),
    )
    return `replace rule ${T} ${chain.name} handle ${rule.handle} ${rule.text.replace(/comment ".*"/, pick(d, ['comment "other"', '']))}`
  },
  'rules swapped': (l, d) => {
    const chain = withRules(l, d, (_, i) => i > 0)
    if (!chain) return undefined
    const at = d(chain.rules.length - 1)
    const [a, b] = [chain.rules[at]!, chain.rules[at + 1]!]
    return `add rule ${T} ${chain.name} position ${b.handle} ${a.text}\ndelete rule ${T} ${chain.name} handle ${a.handle}`
  },
  'policy changed': (l, d) => {
    const chain = pick(
      d,
      l.chains.filter(c => c.head !== ''),
    )
    return `add chain ${T} ${chain.name} { policy ${pick(d, ['accept', 'drop'])}; }`
  },
  'priority changed': (l, d) => {
    const chain = pick(
      d,
      l.chains.filter(c => c.head !== ''),
    )
    const head = chain.head.replace(/priority [^;]+;/, `priority ${pick(d, [-350, -150, -10, 5, 120])};`)
    const rules = chain.rules.map(r => `add rule ${T} ${chain.name} ${r.text}`)
    return [
      `flush chain ${T} ${chain.name}`,
      `delete chain ${T} ${chain.name}`,
      `add chain ${T} ${chain.name} { ${head} }`,
      ...rules,
    ].join('\n')
  },
  'hook changed': (l, d) => {
    const chain = pick(
      d,
      l.chains.filter(c => c.head.includes('filter')),
    )
    const head = chain.head.replace(/hook \S+/, `hook ${pick(d, HOOKS)}`)
    const rules = chain.rules.map(r => `add rule ${T} ${chain.name} ${r.text}`)
    return [
      `flush chain ${T} ${chain.name}`,
      `delete chain ${T} ${chain.name}`,
      `add chain ${T} ${chain.name} { ${head} }`,
      ...rules,
    ].join('\n')
  },
  'set flags changed': (l, d) => {
    const set = pick(d, ['pools4', 'pools6', 'masquerade4', 'masquerade6'])
    const text = l.text.replace(/ # handle \d+/g, '')
    const flags = pick(d, [
      'flags interval\n\t\tauto-merge',
      'flags constant,interval',
      'flags interval\n\t\tsize 1000',
    ])
    return `delete table ${T}\n${text.replace(new RegExp(`(set ${set} \\{\\n\\t\\ttype \\S+\\n\\t\\t)flags interval`), `$1${flags}`)}`
  },
  'foreign table': (_, d) => {
    const family = pick(d, ['inet', 'ip', 'ip6'])
    const usable = MATCHES.filter(m =>
      family === 'inet' ? true : !/ip6? /.test(m) && !m.includes('nfproto') && !m.includes('icmp'),
    )
    const rules = Array.from(
      { length: 1 + d(3) },
      () => `\t\t${pick(d, usable)} ${pick(d, ['accept', 'drop', 'accept', 'return', 'counter'])}`,
    )
    const policy = pick(d, ['accept', 'accept', 'drop'])
    const hook = pick(d, HOOKS)
    return `table ${family} foreign {\n\tchain c {\n\t\ttype filter hook ${hook} priority ${pick(d, [-310, -150, -5, 5, 50])}; policy ${policy};\n${rules.join('\n')}\n\t}\n}`
  },
  'chain flushed': (l, d) => `flush chain ${T} ${pick(d, l.chains).name}`,
  'set flushed': (l, d) => `flush set ${T} ${pick(d, l.sets).name}`,
  'table flushed': () => `flush table ${T}`,
  'table deleted': () => `delete table ${T}`,
}

const withElements = (l: Listing, d: Dice, maps = false): SetText | undefined => {
  const sets = l.sets.filter(s => s.elements.length > 0 && (!maps || s.isMap))
  return sets.length > 0 ? pick(d, sets) : undefined
}
const withRules = (l: Listing, d: Dice, has: (r: Rule, index: number) => boolean = () => true): Chain | undefined => {
  const chains = l.chains.filter(c => c.rules.some(has))
  return chains.length > 0 ? pick(d, chains) : undefined
}

/** Kinds that exist once are drawn less often than those that can be done in many places. */
const NAMES = Object.keys(KINDS).flatMap(name =>
  /table (flushed|deleted)/.test(name) ? [name] : [name, name, name, name],
)

export function randomEdit(l: Listing, d: Dice): { readonly kind: string; readonly script: string } {
  for (;;) {
    const kind = pick(d, NAMES)
    const script = KINDS[kind]!(l, d)
    if (script !== undefined) return { kind, script }
  }
}
