// Documents in one line, and problems in one line: how the tests of this folder write both.
import assert from 'node:assert/strict'
import { parse } from 'yaml'
import type { Problem } from '../base/problem.ts'
import { decodeResource, KINDS, type Kind, type Resource } from './resource.ts'

/** A document in one line of YAML: `GlobalNetworkPolicy {name: a} {selector: all()}`. */
export function document(line: string): unknown {
  const [, kind = '', metadata = '', spec = ''] = /^(\w+) (\{[^}]*(?:\{[^}]*\})?[^}]*\}) (.*)$/.exec(line) ?? []
  const apiVersion = KINDS[kind as Kind]?.apiVersion ?? 'projectcalico.org/v3'
  return { apiVersion, kind, metadata: parse(metadata), spec: parse(spec) }
}

export function problemsOf(line: string): readonly Problem[] {
  const decoded = decodeResource(document(line))
  return decoded.ok ? [] : decoded.problems
}

export function decode(line: string): Resource {
  const decoded = decodeResource(document(line))
  assert.ok(decoded.ok, JSON.stringify(decoded))
  return decoded.value
}

/** `path: message (fix)` */
export const print = ({ path, message, fix }: Problem): string =>
  `${path}: ${message}${fix === undefined ? '' : ` (${fix})`}`

export const gnp = (spec: string): string => `GlobalNetworkPolicy {name: a} ${spec}`
export const ingress = (rule: string): string => gnp(`{ingress: [${rule}]}`)
