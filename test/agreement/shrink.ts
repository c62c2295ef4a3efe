// Makes a disagreement small: resources, rules, fields and list entries are taken away one after the other, as long as the
// judges still disagree. What is left is what a person has to look at, and what is kept as a test.
import { parse, stringify } from 'yaml'
import { BUDGET } from '../../src/core/classify/split.ts'
import { decodeResource, type Resource } from '../../src/core/resources/resource.ts'
import type { Disagreement, KeptCase } from './agreement.ts'

type Json = null | boolean | number | string | Json[] | { [key: string]: Json }
type Documents = readonly Json[]

/** Every document with one thing less: a key, or an entry of a list. Not the words that say what it is. */
function* smaller(value: Json, path: readonly string[] = []): Generator<Json> {
  if (typeof value !== 'object' || value === null) return
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) yield value.toSpliced(i, 1)
    for (const [i, entry] of value.entries())
      for (const less of smaller(entry, [...path, String(i)])) yield value.with(i, less)
    return
  }
  const fixed =
    path.length === 0 ? ['apiVersion', 'kind', 'metadata', 'spec'] : path.length === 1 ? ['name', 'namespace'] : []
  for (const key of Object.keys(value)) {
    if (fixed.includes(key)) continue
    const { [key]: _, ...rest } = value
    yield rest
  }
  for (const [key, entry] of Object.entries(value))
    for (const less of smaller(entry, [...path, key])) yield { ...value, [key]: less }
}

function decodeAll(documents: Documents): Resource[] | undefined {
  const decoded = documents.map(document => decodeResource(document, { stored: true }))
  return decoded.every(d => d.ok) ? decoded.map(d => d.value) : undefined
}

const SMALLER_FLOWS: readonly ((kept: KeptCase) => KeptCase)[] = [
  kept => ({ ...kept, flow: { ...kept.flow, shape: 'whole' } }),
  kept => ({ ...kept, budget: BUDGET }),
]

/** `judge`: judges a case again; undefined when all agree. `tries`: how often it may be asked. */
export async function shrink(
  found: Disagreement,
  judge: (kept: KeptCase) => Promise<Disagreement | undefined>,
  tries = 1500,
): Promise<Disagreement> {
  let best = found
  let left = tries
  const take = async (kept: KeptCase): Promise<boolean> => {
    if (left-- <= 0) return false
    try {
      const again = await judge(kept)
      if (!again) return false
      best = again
      return true
    } catch {
      // Of a case cut too far somebody may have nothing to say.
      return false
    }
  }
  let documents: Documents = JSON.parse(JSON.stringify(found.resources))
  const takeDocuments = async (next: Documents): Promise<boolean> => {
    const resources = decodeAll(next)
    if (!resources || !(await take({ ...best, resources }))) return false
    documents = next
    return true
  }
  for (const change of SMALLER_FLOWS)
    if (JSON.stringify(change(best)) !== JSON.stringify(best)) await take(change(best))
  for (let size = Math.ceil(documents.length / 2); size >= 1 && left > 0; size = size === 1 ? 0 : Math.ceil(size / 2))
    for (let at = documents.length - size; at >= 0 && left > 0; at -= size)
      await takeDocuments(documents.toSpliced(at, size))
  for (let changed = true; changed && left > 0; ) {
    changed = false
    for (let i = 0; i < documents.length && left > 0; i++) {
      for (const less of smaller(documents[i]!)) {
        if (left <= 0 || !(await takeDocuments(documents.with(i, less)))) continue
        changed = true
        break
      }
    }
  }
  return best
}

/** A case as a file of test/agreement/kept. */
export function printCase({ resources, budget, flow }: KeptCase, comment = ''): string {
  const head = comment
    .split('\n')
    .filter(line => line !== '')
    .map(line => `# ${line}\n`)
    .join('')
  return (
    head +
    stringify(
      { flow, ...(budget < BUDGET && { budget }), resources: JSON.parse(JSON.stringify(resources)) },
      { lineWidth: 0 },
    )
  )
}

export function parseCase(text: string): KeptCase {
  const { flow, budget = BUDGET, resources } = parse(text) as KeptCase & { resources: Documents }
  const decoded = decodeAll(resources)
  if (!decoded) throw new Error('a resource of the case is not valid')
  return { flow, budget, resources: decoded }
}
