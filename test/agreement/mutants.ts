// Copies of the compiler with one fault each: its modules are loaded again under another address, and where the fault is, a
// piece of the source is another on the way in. Nothing on the disk changes, and no source knows of it.
import { readFileSync } from 'node:fs'
import { type LoadHookContext, registerHooks } from 'node:module'
import { fileURLToPath } from 'node:url'
import type { Fault } from './faults.ts'
import type { Compiler } from './judges.ts'

const CORE = new URL('../../src/core/', import.meta.url).href
/** What is loaded anew: everything between the resources and the table. */
const COPIED = ['calc', 'classify', 'policy', 'render'].map(folder => `${CORE}${folder}/`)
const QUERY = '?fault='

let planted: { readonly url: string; readonly fault: Fault; found: number } | undefined

const textOf = (source: string | NodeJS.ArrayBufferView | ArrayBuffer): string =>
  typeof source === 'string' ? source : Buffer.from(source as Uint8Array).toString('utf8')

registerHooks({
  resolve(specifier, context, next) {
    const resolved = next(specifier, context)
    const query = context.parentURL?.split(QUERY)[1]
    const isCopied = query !== undefined && COPIED.some(folder => resolved.url.startsWith(folder))
    return isCopied && !resolved.url.includes(QUERY)
      ? { ...resolved, url: `${resolved.url}${QUERY}${query}` }
      : resolved
  },
  load(url, context: LoadHookContext, next) {
    const loaded = next(url, context)
    if (!planted || planted.url !== url || !loaded.source) return loaded
    planted.found++
    return { ...loaded, source: withFault(textOf(loaded.source), planted.fault) }
  },
})

/** The source with the fault; throws when the text to be replaced is not there exactly once. */
function withFault(source: string, { file, find, put }: Fault): string {
  const parts = source.split(find)
  if (parts.length !== 2) throw new Error(`${file} holds ${parts.length - 1} times: ${find}`)
  return parts.join(put)
}

/** Throws unless the fault can be planted into the source as it is. */
export const checkFault = (fault: Fault): void =>
  void withFault(readFileSync(fileURLToPath(`${CORE}${fault.file}`), 'utf8'), fault)

let copies = 0

/** The compiler with a fault, or a copy of the right one. */
export async function loadCompiler(fault?: Fault): Promise<Compiler> {
  const query = `${QUERY}${++copies}`
  planted = fault && { url: `${CORE}${fault.file}${query}`, fault, found: 0 }
  try {
    const [calc, classify, table] = await Promise.all([
      import(`${CORE}calc/compute.ts${query}`),
      import(`${CORE}classify/classify.ts${query}`),
      import(`${CORE}render/nft/table.ts${query}`),
    ])
    if (planted && planted.found !== 1) throw new Error(`${fault?.file} is no part of the compiler`)
    return {
      computeIntent: calc.computeIntent,
      classify: classify.classify,
      outcomesAt: classify.outcomesAt,
      policyTable: table.policyTable,
    } as Compiler
  } finally {
    planted = undefined
  }
}
