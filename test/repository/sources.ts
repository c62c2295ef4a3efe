// The files of the tree as the repository's tests see them, and what each imports.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'

export const ROOT = resolve(import.meta.dirname, '../..')

export type Source = {
  /** From the root of the repository, with `/`. */
  readonly path: string
  readonly text: string
}

/** Every file below some folders that ends in one of the endings, sorted by path. */
export function sources(folders: readonly string[], endings: readonly string[]): Source[] {
  return folders
    .flatMap(folder => readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true }))
    .filter(entry => entry.isFile() && endings.some(ending => entry.name.endsWith(ending)))
    .map(entry => relative(ROOT, join(entry.parentPath, entry.name)))
    .sort()
    .map(path => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }))
}

export const isTest = ({ path }: Source): boolean => path.endsWith('.test.ts')

const STRING = /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`/.source
const REGULAR_EXPRESSION = /(?<=[=(,:?!&|\s])\/(?![/*\s])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n])+\//.source
const TOKENS = new RegExp(`${STRING}|${REGULAR_EXPRESSION}|//[^\\n]*|/\\*[\\s\\S]*?\\*/`, 'g')

/** The text without its comments. Strings and regular expressions are stepped over, so that `//` in one begins none. */
export const withoutComments = (text: string): string =>
  text.replaceAll(TOKENS, token => (token.startsWith('//') || token.startsWith('/*') ? ' ' : token))

const IMPORTS = /\b(?:import|export)\b[^'"`;()]*?\bfrom\s*['"]([^'"]+)['"]|(?<!['"])\bimport\s*\(?\s*['"]([^'"]+)['"]/g

/** What a file imports or re-exports: paths from the root for relative ones, names as they are for packages. */
export function importsOf({ path, text }: Source): string[] {
  return [...withoutComments(text).matchAll(IMPORTS)].map(match => {
    const name = match[1] ?? match[2]!
    return name.startsWith('.') ? relative(ROOT, resolve(ROOT, dirname(path), name)) : name
  })
}
