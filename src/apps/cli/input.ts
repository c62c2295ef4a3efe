// What a user hands to -f: files, directories and standard input, with YAML or JSON, several documents, and lists.
// Every value keeps the way back to its line and column, so that a mistake found much later can still be pointed at.
import { readdir, readFile, stat } from 'node:fs/promises'
import path from 'node:path'
import { text as readAll } from 'node:stream/consumers'
import { isMap, isScalar, isSeq, LineCounter, type Node, parseAllDocuments } from 'yaml'
import type { Problem } from '../../core/base/problem.ts'

export type Position = { readonly line: number; readonly column: number }

/** One resource as the user wrote it, not yet judged. */
export type InputDocument = {
  /** The file as named by the user; `-` for standard input. */
  readonly file: string
  readonly value: unknown
  /** Where a path (`spec.ingress[0].action`) is; the nearest enclosing node when the path itself is absent. */
  readonly position: (path: string) => Position
}

/** A problem at a place in a file. */
export type Mistake = Problem & Position & { readonly file: string }

export type Inputs = { readonly documents: readonly InputDocument[]; readonly mistakes: readonly Mistake[] }

/** `policy.yaml:7:15: spec.ingress[0].action: ... (fix: ...)` */
export function printMistake({ file, line, column, path: at, message, fix }: Mistake): string {
  const where = at === '' ? '' : `${at}: `
  return `${file === '-' ? 'standard input' : file}:${line}:${column}: ${where}${message}${fix === undefined ? '' : ` (fix: ${fix})`}`
}

export const mistakesOf = (document: InputDocument, problems: readonly Problem[]): Mistake[] =>
  problems.map(problem => ({ ...problem, ...document.position(problem.path), file: document.file }))

/** `spec.ingress[0].action` as steps; keys in brackets and quotes (`labels["a.b"]`) are whole keys. */
function stepsOf(text: string): (string | number)[] {
  const steps: (string | number)[] = []
  for (const match of text.matchAll(/\[(\d+)\]|\["([^"]*)"\]|([^.[\]]+)/g)) {
    steps.push(match[1] !== undefined ? Number(match[1]) : (match[2] ?? match[3]!))
  }
  return steps
}

/** The offset of the node a path leads to, or of the last node on the way that exists. */
function offsetOf(root: Node | null, steps: readonly (string | number)[]): number {
  let node: Node | null = root
  let offset = root?.range?.[0] ?? 0
  for (let i = 0; i < steps.length; i++) {
    const step = steps[i]!
    if (isSeq(node) && typeof step === 'number') {
      node = (node.items[step] as Node | undefined) ?? null
    } else if (isMap(node)) {
      // A key may contain dots (labels): the longest run of steps that is a key wins.
      let found: { key: Node; value: Node | null; used: number } | undefined
      for (let used = steps.length - i; used >= 1 && !found; used--) {
        const name = steps.slice(i, i + used).join('.')
        const pair = node.items.find(item => isScalar(item.key) && String(item.key.value) === name)
        if (pair) found = { key: pair.key as Node, value: pair.value as Node | null, used }
      }
      if (!found) return offset
      i += found.used - 1
      node = found.value
      offset = found.key.range?.[0] ?? offset
      if (i < steps.length - 1) continue
      // A scalar's own place says more than its key's.
      return isScalar(node) && node.range ? node.range[0] : offset
    } else {
      return offset
    }
    offset = node?.range?.[0] ?? offset
  }
  return offset
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** The documents of one file's text. Never throws: a text that is no YAML gives mistakes. */
export function parseInput(file: string, text: string): Inputs {
  const counter = new LineCounter()
  const documents: InputDocument[] = []
  const mistakes: Mistake[] = []
  const at = (offset: number): Position => {
    const { line, col } = counter.linePos(offset)
    return { line: Math.max(1, line), column: Math.max(1, col) }
  }
  const parsed = parseAllDocuments(text, { lineCounter: counter, prettyErrors: false })
  for (const doc of 'empty' in parsed ? [] : parsed) {
    if (doc.errors.length > 0) {
      for (const error of doc.errors) {
        mistakes.push({ file, path: '', message: `not valid YAML: ${error.message}`, ...at(error.pos[0]) })
      }
      continue
    }
    const root = doc.contents as Node | null
    const mistake = (path: string, message: string): void => {
      mistakes.push({ file, path, message, ...at(offsetOf(root, stepsOf(path))) })
    }
    let value: unknown
    try {
      value = doc.toJS()
    } catch (error) {
      mistake('', `not valid YAML: ${error instanceof Error ? error.message : String(error)}`)
      continue
    }
    if (value === null || value === undefined) continue
    const add = (item: unknown, base: string): void => {
      if (isObject(item)) {
        const join = (inner: string): string => (base === '' || inner === '' ? base + inner : `${base}.${inner}`)
        documents.push({ file, value: item, position: inner => at(offsetOf(root, stepsOf(join(inner)))) })
      } else {
        mistake(base, 'a resource is a map with apiVersion, kind and metadata, and this is none')
      }
    }
    if (Array.isArray(value)) for (const [i, item] of value.entries()) add(item, `[${i}]`)
    else if (isObject(value) && typeof value.kind === 'string' && value.kind.endsWith('List')) {
      if (Array.isArray(value.items)) for (const [i, item] of value.items.entries()) add(item, `items[${i}]`)
      else mistake('items', `a ${value.kind} has its resources under items`)
    } else add(value, '')
  }
  return { documents, mistakes }
}

const EXTENSIONS = ['.yaml', '.yml', '.json']

async function filesIn(dir: string, recursive: boolean): Promise<string[]> {
  const files: string[] = []
  const entries = await readdir(dir, { withFileTypes: true })
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const full = path.join(dir, entry.name)
    if (entry.isDirectory()) {
      if (recursive) files.push(...(await filesIn(full, true)))
    } else if (EXTENSIONS.includes(path.extname(entry.name))) files.push(full)
  }
  return files
}

const empty = (file: string, message: string): Mistake => ({ file, path: '', line: 1, column: 1, message })

export type ReadOptions = {
  /** Goes into directories of directories. */
  readonly recursive: boolean
  /** What `-` stands for. */
  readonly stdin: NodeJS.ReadableStream
}

/** Reads everything the names lead to. A directory gives its .yaml, .yml and .json files by name. */
export async function readInputs(names: readonly string[], { recursive, stdin }: ReadOptions): Promise<Inputs> {
  const documents: InputDocument[] = []
  const mistakes: Mistake[] = []
  const take = (inputs: Inputs): void => {
    documents.push(...inputs.documents)
    mistakes.push(...inputs.mistakes)
  }
  for (const name of names) {
    try {
      if (name === '-') take(parseInput('-', await readAll(stdin)))
      else if ((await stat(name)).isDirectory()) {
        for (const file of await filesIn(name, recursive)) take(parseInput(file, await readFile(file, 'utf8')))
      } else take(parseInput(name, await readFile(name, 'utf8')))
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code
      const why =
        code === 'ENOENT' ? 'no such file or directory' : error instanceof Error ? error.message : String(error)
      mistakes.push(empty(name, why))
    }
  }
  return { documents, mistakes }
}
