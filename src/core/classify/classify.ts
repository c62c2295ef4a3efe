// From a node's intent to atoms, groups, rows and outcomes (Recursive Flow Classification, Gupta and McKeown 1999, with
// the equivalence classes interned). A packet then costs: interface → group, address → atom, atom → row,
// (row, protocol, port) → outcome, whatever the number of policies.
import { sha1Hex } from '../base/hash.ts'
import type { HostInterface, Intent, LocalEndpoint, Program, SetId } from '../calc/intent.ts'
import { type Addr, FAMILIES, type Family, familyOf } from '../net/addr.ts'
import type { Packet } from '../net/packet.ts'
import { DIRECTIONS, type Direction, type HostHook, type HostLeg } from '../resources/cause.ts'
import { type AtomKey, type Atoms, atomOf, atomsOf, NOWHERE } from './atoms.ts'
import type { NextStep, Outcome, OutcomeName } from './outcome.ts'
import { ownKey, ownProgram, ownSetsOf } from './own.ts'
import { residual, setsOfRule } from './residual.ts'
import { lookup, type Row, type RowName } from './row.ts'
import { RowTable } from './row-table.ts'
import { type Made, type Place, RowMaker } from './rows.ts'
import { BUDGET, type SplitTable, sizeOf, splitTable } from './split.ts'

/** `g_` and 16 hex digits of a hash of the identity: kept when a policy of the group is edited. */
export type GroupName = string & { readonly __group: true }

/** Endpoints that are guarded alike in one direction. */
export type Group = {
  readonly name: GroupName
  readonly direction: Direction
  readonly identity: string
  readonly tables: Readonly<Record<Family, RowTable | SplitTable>>
  readonly hook?: HostHook
}

/**
 * What guards a host endpoint at one of its legs: groups by the own address, where rules tell own addresses apart; else
 * the one group of its own name.
 */
export type HostGroup = HostLeg & {
  readonly name: GroupName
  readonly identity: string
  readonly otherwise: GroupName
  readonly byOwn: ReadonlyMap<AtomKey, GroupName>
}

export type HostDispatch = {
  readonly host: HostInterface
  readonly groups: readonly HostGroup[]
}

export type Dispatch = {
  readonly endpoint: LocalEndpoint
  readonly groups: Readonly<Record<Direction, GroupName>>
}

export type Classification = {
  readonly intent: Intent
  readonly atoms: Atoms
  readonly groups: ReadonlyMap<GroupName, Group>
  readonly rows: ReadonlyMap<RowName, Row>
  readonly outcomes: ReadonlyMap<OutcomeName, Outcome>
  readonly dispatch: readonly Dispatch[]
  readonly hosts: readonly HostDispatch[]
}

export const groupName = (at: { direction: Direction; hook?: HostHook }, identity: string): GroupName =>
  `g_${sha1Hex(`${at.hook ? `${at.hook} ` : ''}${at.direction} ${identity}`).slice(0, 16)}` as GroupName

/** The sets that a program asks about: atoms that agree on these share a row. */
const setsOf = (program: Program): ReadonlySet<SetId> =>
  new Set(program.stages.flatMap(s => s.rules).flatMap(setsOfRule))

/** `budget`: how large a table may be before it is cut into parts. */
export function classify(intent: Intent, { budget = BUDGET } = {}): Classification {
  const atoms = atomsOf(intent.sets)
  const groups = new Map<GroupName, Group>()
  const rows = new Map<RowName, Row>()
  const outcomes = new Map<OutcomeName, Outcome>()

  function keep({ row, outcomes: led }: Made): RowName {
    for (const [name, outcome] of led) outcomes.set(name, outcome)
    rows.set(row.name, row)
    return row.name
  }

  function tableOf(program: Program): RowTable | SplitTable {
    const size = sizeOf(program.stages, atoms.vectors.values())
    if (size <= budget) return rowTable(program)
    const makerAt = (place: Place): RowMaker => new RowMaker(program, place)
    return splitTable(program, { size, budget, makerAt, keep, atoms: [...atoms.vectors] })
  }

  function rowTable(program: Program): RowTable {
    const maker = new RowMaker(program)
    const relevant = setsOf(program)
    const made = new Map<string, RowName>()
    const rowOf = (vector: ReadonlySet<SetId>): RowName => {
      const seen = new Set([...vector].filter(id => relevant.has(id)))
      const key = [...seen].join(' ')
      const known = made.get(key)
      if (known) return known
      const name = keep(maker.row(residual(program, seen)))
      made.set(key, name)
      return name
    }
    const otherwise = rowOf(new Set())
    const table = new Map<AtomKey, RowName>()
    for (const [atom, vector] of atoms.vectors) {
      const row = atom === NOWHERE ? otherwise : rowOf(vector)
      if (row !== otherwise) table.set(atom, row)
    }
    return new RowTable(otherwise, table)
  }

  const dispatch = intent.endpoints.map(endpoint => {
    const names = Object.fromEntries(
      DIRECTIONS.map(direction => {
        const guard = endpoint.guards[direction]
        const name = groupName({ direction }, guard.identity)
        if (!groups.has(name)) {
          const tables = { 4: tableOf(guard.programs[4]), 6: tableOf(guard.programs[6]) }
          groups.set(name, { name, direction, identity: guard.identity, tables })
        }
        return [direction, name]
      }),
    ) as Record<Direction, GroupName>
    return { endpoint, groups: names }
  })
  const hostGroups = new Map<GroupName, HostGroup>()
  const hosts = intent.hostInterfaces.map((host): HostDispatch => {
    const at = host.guards.map(({ direction, hook, identity, programs }): HostGroup => {
      const leg = { direction, hook }
      const name = groupName(leg, identity)
      const known = hostGroups.get(name)
      if (known) return known
      const asked = ownSetsOf(FAMILIES.map(f => programs[f]))
      const groupOf = (key: string): GroupName => {
        const own = ownGroupName(leg, identity, { asked, key })
        if (!groups.has(own)) {
          const table = (family: Family) => tableOf(ownProgram(programs[family], key))
          groups.set(own, { ...leg, name: own, identity, tables: { 4: table(4), 6: table(6) } })
        }
        return own
      }
      const otherwise = groupOf('')
      const byOwn = new Map<AtomKey, GroupName>()
      for (const [atom, vector] of atoms.vectors) {
        const key = ownKey(vector, asked)
        if (key !== '') byOwn.set(atom, groupOf(key))
      }
      const made = { ...leg, name, identity, otherwise, byOwn }
      hostGroups.set(name, made)
      return made
    })
    return { host, groups: at }
  })
  return { intent, atoms, groups, rows, outcomes, dispatch, hosts }
}

/**
 * The group for own addresses in these of the asked sets. Rules that ask about others make other groups, also for addresses
 * in none of them: else a packet that is on its way by the old chain would meet the new rules of a part.
 */
export function ownGroupName(leg: HostLeg, identity: string, { asked, key }: OwnPart): GroupName {
  const own = `${identity}; own address in ${key === '' ? 'none' : key} of ${[...asked].sort().join(' ')}`
  return groupName(leg, asked.size === 0 ? identity : own)
}

export type OwnPart = { readonly asked: ReadonlySet<SetId>; readonly key: string }

/**
 * The outcomes that the tables lead a packet to at one endpoint's direction, as the kernel takes the road: one, or several
 * where the table is cut, until one decides. `follow` tells how an outcome ends for the packet.
 */
export function outcomesAt(c: Classification, at: { group: GroupName; packet: Packet }, follow: Follow): Outcome[] {
  const { group, packet } = at
  const { direction, tables } = c.groups.get(group)!
  const peer: Addr = direction === 'ingress' ? packet.src : packet.dst
  const table = tables[familyOf(peer)]
  const find = (of: RowTable): Outcome => c.outcomes.get(lookup(c.rows.get(of.row(atomOf(c.atoms, peer)))!, packet))!
  if (table instanceof RowTable) return [find(table)]
  const met: Outcome[] = []
  for (const sections of [table.staged, table.enforced]) {
    walk: for (const parts of sections) {
      for (const part of parts) {
        const outcome = find(part.table)
        met.push(outcome)
        const end = follow(outcome)
        if (end === 'decided') return met
        if (end === 'done') break walk
        if (end === 'pass') break
      }
    }
  }
  return met
}

/** Whether an outcome decides, or where it goes on. */
export type Follow = (outcome: Outcome) => 'decided' | NextStep['to']
