// The matrix of what should get through against what did. A cell is a pair of pods; protocols and families that gave the
// same picture share one table. Beside a verdict stands the rule that made it; a denial counts only if its rule's counter moved.
import type { Paint } from './terminal.ts'

export type Verdict = 'allow' | 'deny'

/** One probe: a packet, or a connection, from one pod to another. */
export type Probe = {
  /** `namespace/name`. */
  readonly from: string
  readonly to: string
  /** Such as `tcp/8080 IPv4`. */
  readonly what: string
  readonly expected: Verdict
  readonly observed: Verdict
  /** The deciding rule, as `decide` names it. */
  readonly rule: string
  /** For an observed denial: whether the counter of its rule in the kernel moved. */
  readonly counted?: boolean
}

/** Why a probe is not as it should be, or `undefined`. */
export function difference({ expected, observed, counted }: Probe): string | undefined {
  if (expected !== observed) return `expected ${expected}, observed ${observed}`
  if (observed === 'deny' && counted === false) return 'denied, but the counter of the rule did not move'
  return undefined
}

export type Summary = {
  readonly probes: number
  readonly allowed: number
  readonly denied: number
  readonly differences: number
}

/** Counts by what was observed. */
export function summarise(probes: readonly Probe[]): Summary {
  const allowed = probes.filter(({ observed }) => observed === 'allow').length
  return {
    probes: probes.length,
    allowed,
    denied: probes.length - allowed,
    differences: probes.filter(probe => difference(probe) !== undefined).length,
  }
}

const percent = (part: number, whole: number): string => `${whole === 0 ? 0 : Math.round((100 * part) / whole)} %`
const unique = (list: readonly string[]): string[] => [...new Set(list)]

type Cells = ReadonlyMap<string, Probe>
const cellKey = (from: string, to: string): string => `${from} ${to}`

function mark(probe: Probe | undefined, paint: Paint): string {
  if (probe === undefined) return paint('dim', '·')
  if (difference(probe) !== undefined) return paint('red', probe.observed === 'allow' ? 'A' : 'D')
  return probe.observed === 'allow' ? paint('green', '+') : paint('yellow', '-')
}

/** Kinds of probes whose tables are equal, in the order of their first probe. */
function groups(probes: readonly Probe[]): { readonly whats: string[]; readonly cells: Cells }[] {
  const byPicture = new Map<string, { whats: string[]; cells: Cells }>()
  for (const what of unique(probes.map(probe => probe.what))) {
    const own = probes.filter(probe => probe.what === what)
    const cells = new Map(own.map(probe => [cellKey(probe.from, probe.to), probe]))
    const pictureOf = [...cells].map(([key, p]) => `${key} ${p.expected} ${p.observed} ${p.counted !== false}`).sort()
    const picture = pictureOf.join('\n')
    const group = byPicture.get(picture)
    if (group === undefined) byPicture.set(picture, { whats: [what], cells })
    else group.whats.push(what)
  }
  return [...byPicture.values()]
}

function table(pods: readonly string[], cells: Cells, paint: Paint): string[] {
  const width = Math.max(...pods.map(pod => pod.length))
  const column = String(pods.length).length + 1
  // Padded before painting: escape codes have no width.
  const pad = (text: string, shown: string): string => `${' '.repeat(column - text.length)}${shown}`
  const numbers = pods.map((_, index) => String(index + 1))
  const head = `${' '.repeat(column + 1 + width)} ${numbers.map(n => pad(n, n)).join('')}`
  const rows = pods.map((from, index) => {
    const marks = pods.map(to => pad('x', mark(cells.get(cellKey(from, to)), paint)))
    return `${pad(numbers[index]!, numbers[index]!)} ${from.padEnd(width)} ${marks.join('')}`
  })
  return [head, ...rows]
}

function rules(probes: readonly Probe[]): string[] {
  const tally = new Map<string, { allow: number; deny: number }>()
  for (const { rule, observed } of probes) {
    const counts = tally.get(rule) ?? { allow: 0, deny: 0 }
    counts[observed]++
    tally.set(rule, counts)
  }
  const sorted = [...tally].sort(([a, x], [b, y]) => y.allow + y.deny - (x.allow + x.deny) || (a < b ? -1 : 1))
  return sorted.map(
    ([rule, { allow, deny }]) => `  ${String(allow).padStart(5)} allowed ${String(deny).padStart(5)} denied  ${rule}`,
  )
}

/** At most so many differences are shown in full. */
const SHOWN = 50

/** The whole picture as text. The order of pods and kinds is that of the probes. */
export function printMatrix(probes: readonly Probe[], paint: Paint): string {
  if (probes.length === 0) return 'No probes.\n'
  const pods = unique(probes.flatMap(({ from, to }) => [from, to]))
  const lines: string[] = []
  for (const { whats, cells } of groups(probes))
    lines.push(paint('bold', whats.join(', ')), ...table(pods, cells, paint), '')
  lines.push('From the pod of the row to the pod of the column: + allowed, - denied, as expected.')
  const different = probes.filter(probe => difference(probe) !== undefined)
  if (different.length > 0) lines.push(paint('red', 'A allowed, D denied, but expected otherwise.'))
  lines.push('', 'Deciding rules:', ...rules(probes), '')
  for (const probe of different.slice(0, SHOWN)) {
    lines.push(
      paint('red', `DIFFERENCE ${probe.from} -> ${probe.to} ${probe.what}: ${difference(probe)} (${probe.rule})`),
    )
  }
  if (different.length > SHOWN) lines.push(paint('red', `… and ${different.length - SHOWN} more differences`))
  const { allowed, denied, differences } = summarise(probes)
  const total = probes.length
  const verdict = `${total} probes: ${allowed} allowed (${percent(allowed, total)}), ${denied} denied (${percent(denied, total)}), ${differences} different from what was expected`
  lines.push(paint(differences === 0 ? 'green' : 'red', verdict))
  return `${lines.join('\n')}\n`
}
