// The report of a run of Kubernetes' end-to-end suite (JUnit's XML, as Ginkgo writes it) read, and printed as a page. A spec
// that was not run does not count, one that was asked for and skipped itself is named with its words.

export type Outcome = 'passed' | 'failed' | 'skipped'
export type Spec = {
  /** Without the suite's name and its labels. */
  readonly name: string
  readonly outcome: Outcome
  readonly seconds: number
  /** What a failure or a skip says. */
  readonly words: string
}

const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }
const decode = (text: string): string =>
  text.replaceAll(/&(?:#(\d+)|#x([0-9a-f]+)|(\w+));/gi, (whole, decimal, hex, name) => {
    if (decimal) return String.fromCodePoint(Number(decimal))
    if (hex) return String.fromCodePoint(Number.parseInt(hex, 16))
    return ENTITIES[name] ?? whole
  })

const CASE = /<testcase\s([^>]*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g
const attribute = (text: string, name: string): string =>
  decode(new RegExp(`(?:^|\\s)${name}="([^"]*)"`).exec(text)?.[1] ?? '')

/** The specs of a report that a run had to do with; those that its focus left out are not among them. */
export function parseReport(xml: string): Spec[] {
  const specs: Spec[] = []
  for (const [, head = '', body = ''] of xml.matchAll(CASE)) {
    const name = attribute(head, 'name')
    if (!name.startsWith('[It] ')) continue
    const status = attribute(head, 'status')
    const message = decode(/<(?:failure|skipped|error)\s[^>]*?message="([^"]*)"/.exec(body)?.[1] ?? '')
    const isLeftOut = status === 'skipped' && /^(skipped)?$/.test(message.trim())
    if (isLeftOut || status === 'pending') continue
    specs.push({
      name: name.replace(/^\[It\] /, '').replaceAll(/ \[(?!Feature)[^\]]*\]/g, ''),
      outcome: status === 'passed' ? 'passed' : status === 'skipped' ? 'skipped' : 'failed',
      seconds: Number(attribute(head, 'time')),
      words: message.replace(/^skipped - /, '').trim(),
    })
  }
  return specs.sort((a, b) => (a.name < b.name ? -1 : 1))
}

export type Tally = Readonly<Record<Outcome, number>>

export const tally = (specs: readonly Spec[]): Tally => {
  const counts = { passed: 0, failed: 0, skipped: 0 }
  for (const { outcome } of specs) counts[outcome]++
  return counts
}

export type Page = {
  readonly specs: readonly Spec[]
  /** What was not asked for, and why. */
  readonly leftOut: readonly { readonly what: string; readonly why: string }[]
  readonly facts: readonly (readonly [string, string])[]
}

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ')

export function printPage({ specs, leftOut, facts }: Page): string {
  const { passed, failed, skipped } = tally(specs)
  const rows = specs.map(s => `| ${cell(s.name)} | ${s.outcome} | ${s.seconds.toFixed(1)} |`)
  const said = specs
    .filter(s => s.outcome !== 'passed' && s.words !== '')
    .map(s => `- ${cell(s.name)}: ${cell(s.words)}`)
  return `${[
    "# Kubernetes' own suite",
    '',
    'Made by `npm run test:kubernetes`; do not edit.',
    '',
    `**${passed} passed, ${failed} failed, ${skipped} skipped.**`,
    '',
    ...facts.map(([what, value]) => `- ${what}: ${value}`),
    '',
    'Not asked for:',
    '',
    ...leftOut.map(({ what, why }) => `- ${what}: ${why}`),
    '',
    ...(said.length > 0 ? ['What specs that did not pass say:', '', ...said, ''] : []),
    '| spec | outcome | s |',
    '|---|---|---|',
    ...rows,
  ].join('\n')}\n`
}
