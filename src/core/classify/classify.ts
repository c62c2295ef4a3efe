// From a node's intent to atoms, groups, rows and outcomes (Recursive Flow Classification, Gupta and McKeown 1999, with
// the equivalence classes interned). A packet then costs: interface → group, address → atom, atom → row,
// (row, protocol, port) → outcome, whatever the number of policies.
import { sha1Hex } from '../base/hash.ts'
import type { HostInterface, Intent, LocalEndpoint, Program, SetId } from '../calc/intent.ts'
import { type Addr, FAMILIES, type Family, familyOf } from '../net/addr.ts'
import type { Packet } from '../net/packet.ts'
import { DIRECTIONS, type Direction, type HostHook, type HostLeg } from '../resources/cause.ts'
import { type AtomKey, type Atoms, atomOf, atomsOf, NOWHERE } from './atoms.ts'
import type { Outcome, OutcomeName } from './outcome.ts'
import { ownKey, ownProgram, ownSetsOf } from './own.ts'
import { residual, setsOfRule } from './residual.ts'
import { lookup, type Row, type RowName } from './row.ts'
import { RowMaker } from './rows.ts'

/** Which row a peer's atom leads to. Atoms not listed, and those that no set holds, lead to `otherwise`. */
export class RowTable {
  readonly otherwise: RowName
  readonly #rows: ReadonlyMap<AtomKey, RowName>

  /** `rows`: of the atoms whose row is not `otherwise`. */
  constructor(otherwise: RowName, rows: ReadonlyMap<AtomKey, RowName>) {
    this.otherwise = otherwise
    this.#rows = rows
  }

  get isUniform(): boolean {
    return this.#rows.size === 0
  }

  entries(): Iterable<[AtomKey, RowName]> {
    return this.#rows
  }

  row(atom: AtomKey): RowName {
    return this.#rows.get(atom) ?? this.otherwise
  }
}

/** `g_` and 16 hex digits of a hash of the identity: kept when a policy of the group is edited. */
export type GroupName = string & { readonly __group: true }

/** Endpoints that are guarded alike in one direction. */
export type Group = {
  readonly name: GroupName
  readonly direction: Direction
  readonly identity: string
  readonly tables: Readonly<Record<Family, RowTable>>
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

export function classify(intent: Intent): Classification {
  const atoms = atomsOf(intent.sets)
  const groups = new Map<GroupName, Group>()
  const rows = new Map<RowName, Row>()
  const outcomes = new Map<OutcomeName, Outcome>()
  const intern = (outcome: Outcome): void => void outcomes.set(outcome.name, outcome)

  function tableOf(program: Program): RowTable {
    const maker = new RowMaker(program, intern)
    const relevant = setsOf(program)
    const made = new Map<string, RowName>()
    const rowOf = (vector: ReadonlySet<SetId>): RowName => {
      const seen = new Set([...vector].filter(id => relevant.has(id)))
      const key = [...seen].join(' ')
      const known = made.get(key)
      if (known) return known
      const row = maker.row(residual(program, seen))
      rows.set(row.name, row)
      made.set(key, row.name)
      return row.name
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
          const tables = Object.fromEntries(FAMILIES.map(f => [f, tableOf(guard.programs[f])])) as Record<
            Family,
            RowTable
          >
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
        const own = ownGroupName(leg, identity, key)
        if (!groups.has(own)) {
          const tables = FAMILIES.map(f => [f, tableOf(ownProgram(programs[f], key))])
          groups.set(own, { ...leg, name: own, identity, tables: Object.fromEntries(tables) })
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

/** The group for own addresses in these sets; for those in none that of the endpoint's own name. */
export const ownGroupName = (leg: HostLeg, identity: string, key: string): GroupName =>
  groupName(leg, key === '' ? identity : `${identity}; own address in ${key}`)

/** The outcome that the tables give a packet at one endpoint's direction; the kernel takes the same road. */
export function outcomeAt(c: Classification, group: GroupName, packet: Packet): Outcome {
  const { direction, tables } = c.groups.get(group)!
  const peer: Addr = direction === 'ingress' ? packet.src : packet.dst
  const table = tables[familyOf(peer)]
  const row = c.rows.get(table.row(atomOf(c.atoms, peer)))!
  return c.outcomes.get(lookup(row, packet))!
}
