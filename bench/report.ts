// Numbers into tables: medians with the middle half of the runs, Markdown, and the page that keeps them. A section of the
// page belongs to one benchmark, which replaces it whole; what people wrote around the sections stays.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import { resolve } from 'node:path'

/** Benchmarks are run from the root of the project; their own file may be a bundle's. */
const ROOT = process.cwd()
const PAGE = resolve(ROOT, 'docs/performance.md')

/** The value below which this share of the samples lies. */
export function quantile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b)
  const at = (sorted.length - 1) * share
  const low = sorted[Math.floor(at)]!
  return low + (sorted[Math.ceil(at)]! - low) * (at - Math.floor(at))
}
export const median = (samples: readonly number[]): number => quantile(samples, 0.5)

/** `1,234 (1,200-1,310)`: the median, and the quartiles on both sides. */
export function withSpread(samples: readonly number[], print: (n: number) => string = whole): string {
  return `${print(median(samples))} (${print(quantile(samples, 0.25))}-${print(quantile(samples, 0.75))})`
}
export const whole = (n: number): string => Math.round(n).toLocaleString('en-US')
export const decimals =
  (digits: number) =>
  (n: number): string =>
    n.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })

/** The first column is text, the others are numbers. */
export function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map((_, i) => (i === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n')
}

/** What the figures were measured on. */
export function circumstances(): string {
  const git = (...args: string[]): string => execFileSync('git', args, { cwd: ROOT, encoding: 'utf8' }).trim()
  const commit =
    git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain', 'src') === '' ? '' : ' and changes')
  const { model = 'unknown processor' } = os.cpus()[0] ?? {}
  const load = os.loadavg()[0]!.toFixed(1)
  const day = new Date().toISOString().slice(0, 10)
  return `Measured ${day} at commit ${commit}: kernel ${os.release()}, Node ${process.version}, ${os.cpus().length} x ${model}, load ${load}.`
}

/** Prints the section; with `--write` among the arguments also puts it into the page. */
export function report(name: string, text: string): void {
  const section = `${text.trim()}\n\n${circumstances()}\n`
  console.log(section)
  if (!process.argv.includes('--write')) return
  const begin = `<!-- ${name} -->\n`
  const end = `<!-- end of ${name} -->\n`
  const page = existsSync(PAGE) ? readFileSync(PAGE, 'utf8') : '# Performance\n\n'
  const [from, to] = [page.indexOf(begin), page.indexOf(end)]
  const whole = begin + section + end
  writeFileSync(
    PAGE,
    from < 0 ? `${page.trimEnd()}\n\n${whole}` : page.slice(0, from) + whole + page.slice(to + end.length),
  )
}
