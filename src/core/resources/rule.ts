// One rule of a policy or profile: its schema, and the rules between its fields. All criteria of a rule must hold, the
// entries of a list are alternatives, and a criterion and its negation may both be given.
import { z } from 'zod'
import type { Problem } from '../base/problem.ts'
import { FAMILIES, type Family } from '../net/addr.ts'
import { type Prefix, prefixFamily, prefixLength } from '../net/prefix.ts'
import { hasPorts, protocolNumber } from '../net/protocol.ts'
import type { Direction } from './cause.ts'
import { cidr, list, type Port, port, portRange, protocol, selectorText, text } from './field.ts'
import type { DeepReadonly } from './kind.ts'
import { checkAnnotations, textMap } from './metadata.ts'

export const ACTIONS = ['Allow', 'Deny', 'Log', 'Pass'] as const

const emptyAway = <T extends object>(value: T): T | undefined =>
  Object.values(value).some(field => field !== undefined) ? value : undefined

const icmp = z.strictObject({
  type: z.int().min(0).max(254).optional(),
  code: z.int().min(0).max(255).optional(),
})

const httpPath = z.strictObject({ exact: text(1024), prefix: text(1024) })
const http = z.strictObject({ methods: list(z.string(), 20), paths: list(httpPath, 20) })

/** One side of a rule. In a NetworkPolicy its selectors range over the policy's own namespace unless it names others. */
const entityRule = z.strictObject({
  nets: list(cidr(), 256),
  selector: selectorText(),
  namespaceSelector: selectorText('alone'),
  services: z.strictObject({ name: text(253), namespace: text(253) }).optional(),
  ports: list(port(), 50),
  notNets: list(cidr(), 256),
  notSelector: selectorText(),
  notPorts: list(port(), 50),
  serviceAccounts: z
    .strictObject({ names: list(z.string()), selector: selectorText() })
    .transform(emptyAway)
    .optional(),
})

export const rule = z.strictObject({
  action: z.enum(ACTIONS),
  ipVersion: z.union([z.literal(4), z.literal(6)]).optional(),
  protocol: protocol().optional(),
  icmp: icmp.transform(emptyAway).optional(),
  notProtocol: protocol().optional(),
  notICMP: icmp.transform(emptyAway).optional(),
  source: entityRule.transform(emptyAway).optional(),
  destination: entityRule.transform(emptyAway).optional(),
  http: http.transform(emptyAway).optional(),
  metadata: z.strictObject({ annotations: textMap() }).transform(emptyAway).optional(),
})

export const rules = () => list(rule, 1024)

type Rule = DeepReadonly<z.output<typeof rule>>
type Entity = DeepReadonly<z.output<typeof entityRule>>

/** Where a rule stands, as far as its validity depends on it. */
export type RulePlace = {
  /** The policy's namespace is the default of `services.namespace`. */
  readonly namespaced: boolean
}

type Sides = readonly (readonly ['source' | 'destination', Entity])[]
const sides = (of: Rule): Sides => [
  ['source', of.source ?? {}],
  ['destination', of.destination ?? {}],
]

/** Checks the rules of both directions; paths begin at `spec`. */
export function checkRules(
  spec: { readonly ingress?: readonly Rule[] | undefined; readonly egress?: readonly Rule[] | undefined },
  place: RulePlace,
): Problem[] {
  const problems: Problem[] = []
  for (const direction of ['ingress', 'egress'] as const) {
    spec[direction]?.forEach((of, index) => {
      const at = `spec.${direction}[${index}]`
      problems.push(...checkIcmp(of, at), ...checkPorts(of, at), ...checkNets(of, at), ...checkHttp(of, direction, at))
      for (const [side, entity] of sides(of)) {
        problems.push(...checkServices(entity, { at: `${at}.${side}`, side, direction, ...place }))
      }
      problems.push(...checkAnnotations(of.metadata?.annotations, `${at}.metadata.annotations`))
    })
  }
  return problems
}

const ICMP_FAMILY = new Map<number, Family>([
  [1, 4],
  [58, 6],
])

function checkIcmp(of: Rule, at: string): Problem[] {
  const problems: Problem[] = []
  for (const field of ['icmp', 'notICMP'] as const) {
    const value = of[field]
    if (value?.code !== undefined && value.type === undefined) {
      problems.push({ path: `${at}.${field}`, message: 'has a code but no type', fix: `add ${field}.type` })
    }
  }
  if (of.icmp && !(of.protocol !== undefined && ICMP_FAMILY.has(protocolNumber(of.protocol)!))) {
    problems.push({ path: `${at}.icmp`, message: 'needs protocol ICMP or ICMPv6', fix: 'set protocol: ICMP' })
  }
  for (const field of ['protocol', 'notProtocol'] as const) {
    const family = of[field] === undefined ? undefined : ICMP_FAMILY.get(protocolNumber(of[field])!)
    if (family !== undefined && of.ipVersion !== undefined && family !== of.ipVersion) {
      const message = `${of[field]} is a protocol of IPv${family}, but ipVersion is ${of.ipVersion}`
      problems.push({
        path: `${at}.${field}`,
        message,
        fix: `set ipVersion: ${family} or leave it out`,
        value: of[field],
      })
    }
  }
  return problems
}

function checkPorts(of: Rule, at: string): Problem[] {
  const problems: Problem[] = []
  const wanted = 'TCP, UDP or SCTP'
  for (const [side, entity] of sides(of)) {
    for (const field of ['ports', 'notPorts'] as const) {
      const ports: readonly Port[] = entity[field] ?? []
      const path = `${at}.${side}.${field}`
      if (of.protocol !== undefined && ports.length > 0 && !hasPorts(protocolNumber(of.protocol)!)) {
        const message = `protocol ${of.protocol} has no ports here; rules that name ports need protocol ${wanted}`
        problems.push({ path, message, value: ports })
      } else if (of.protocol === undefined && ports.some(p => portRange(p) !== undefined)) {
        const message = `port numbers need a protocol: ${wanted}`
        problems.push({ path, message, fix: `add protocol: TCP (or UDP, SCTP) beside action`, value: ports })
      }
    }
  }
  return problems
}

function checkNets(of: Rule, at: string): Problem[] {
  const problems: Problem[] = []
  const seen = new Map<Family, string>()
  for (const [side, entity] of sides(of)) {
    for (const field of ['nets', 'notNets'] as const) {
      entity[field]?.forEach((net: Prefix, index) => {
        const [path, family] = [`${at}.${side}.${field}[${index}]`, prefixFamily(net)]
        if (field === 'notNets' && prefixLength(net) === 0) {
          const message = 'excludes every address, so the rule could never match'
          problems.push({ path, message, fix: `remove ${net}, or the whole rule`, value: net })
        }
        if (of.ipVersion !== undefined && of.ipVersion !== family) {
          problems.push({ path, message: `is IPv${family}, but the rule has ipVersion ${of.ipVersion}`, value: net })
        } else if (!seen.has(family) && seen.size > 0) {
          const other = [...seen][0]!
          const message = `is IPv${family}, but ${other[1]} is IPv${other[0]}; a rule holds CIDRs of one family`
          problems.push({
            path,
            message,
            fix: `write one rule for each of IPv${FAMILIES.join(' and IPv')}`,
            value: net,
          })
        }
        if (!seen.has(family)) seen.set(family, path)
      })
    }
  }
  return problems
}

const BESIDE_SERVICES = ['nets', 'notNets', 'selector', 'notSelector', 'namespaceSelector', 'serviceAccounts'] as const

type ServicePlace = RulePlace & {
  readonly at: string
  readonly side: 'source' | 'destination'
  readonly direction: Direction
}

function checkServices(entity: Entity, place: ServicePlace): Problem[] {
  if (entity.services === undefined) return []
  const problems: Problem[] = []
  const path = `${place.at}.services`
  if (!entity.services.name) problems.push({ path: `${path}.name`, message: 'is required' })
  if (!place.namespaced && !entity.services.namespace) {
    problems.push({ path: `${path}.namespace`, message: 'is required outside of a NetworkPolicy' })
  }
  const side = place.direction === 'egress' ? 'destination' : 'source'
  if (place.side !== side) {
    problems.push({ path, message: `an ${place.direction} rule may name services only in its ${side}` })
  }
  const excluded = [...BESIDE_SERVICES, ...(place.side === 'destination' ? (['ports', 'notPorts'] as const) : [])]
  for (const field of excluded) {
    if (entity[field] !== undefined)
      problems.push({ path: `${place.at}.${field}`, message: 'cannot be combined with services' })
  }
  return problems
}

function checkHttp(of: Rule, direction: Direction, at: string): Problem[] {
  if (of.http === undefined) return []
  const problems: Problem[] = []
  const path = `${at}.http`
  if (direction === 'egress') problems.push({ path, message: 'is not allowed in egress rules' })
  if (of.action !== 'Allow') problems.push({ path, message: 'is allowed only with action Allow' })
  if (of.protocol !== undefined && protocolNumber(of.protocol) !== 6)
    problems.push({ path, message: 'needs protocol TCP' })
  const methods = of.http.methods ?? []
  methods.forEach((method, index) => {
    if (methods.indexOf(method) !== index)
      problems.push({ path: `${path}.methods[${index}]`, message: `${method} is listed twice` })
  })
  of.http.paths?.forEach((entry, index) => {
    const where = `${path}.paths[${index}]`
    const value = entry.exact ?? entry.prefix ?? ''
    if ((entry.exact === undefined) === (entry.prefix === undefined)) {
      problems.push({ path: where, message: 'needs exactly one of exact and prefix' })
    } else if (!value.startsWith('/') || /[?# ]/.test(value)) {
      problems.push({ path: where, message: 'must begin with / and hold no ?, # or space', value })
    }
  })
  return problems
}
