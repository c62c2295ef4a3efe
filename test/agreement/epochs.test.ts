// What the calculator keeps for packets that are still on their way: by the epoch of the change that made it superfluous.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Calculator } from '../../src/core/calc/calculator.ts'
import { keyOf, type Resource } from '../../src/core/resources/resource.ts'
import { DEFAULT_TIER, endpoint, globalPolicy } from '../support/resources.ts'

const NODE = 'node0'
const server = (role: string) => endpoint({ name: 'b', node: NODE, addresses: ['10.65.0.3'], labels: { role } })
const ofTeam = (team: string) =>
  globalPolicy('p', {
    ...{ order: 10, selector: 'all()', types: ['Ingress'] },
    ingress: [{ action: 'Allow', source: { selector: `team == '${team}'` } }],
  })

function calculator() {
  const c = new Calculator(NODE)
  const put = (value: Resource) => c.apply([{ key: keyOf(value), value }])
  c.apply([DEFAULT_TIER, server('server'), ofTeam('a')].map(value => ({ key: keyOf(value), value })))
  const asked = new Set<string>()
  /** The teams whose sets exist; every set that was ever asked is remembered by its title. */
  const teams = (): string => {
    for (const { ingress } of [...c.endpoints.values()].map(e => e.groups)) {
      for (const { blocks } of ingress.programs[4].stages)
        for (const { sets } of blocks) for (const id of sets) asked.add(id)
    }
    return [...asked]
      .flatMap(id => c.sets.get(id as Parameters<typeof c.sets.get>[0])?.title.match(/team == "(\w)"/)?.[1] ?? [])
      .sort()
      .join('')
  }
  assert.equal(teams(), 'a')
  return { c, put, teams }
}

test('what an edit made superfluous is given up by its epoch, whatever came after', () => {
  const { c, put, teams } = calculator()
  const epochs = ['b', 'c', 'd'].map(team => {
    put(ofTeam(team))
    teams()
    return c.epoch
  })
  assert.equal(teams(), 'abcd')
  c.settle(epochs[0]! - 1)
  assert.equal(teams(), 'abcd')
  c.settle(epochs[0]!)
  assert.equal(teams(), 'bcd')
  c.settle(epochs[1]!)
  assert.equal(teams(), 'cd')
  assert.ok(c.unsettled)
  c.settle(epochs[2]!)
  assert.equal(teams(), 'd')
  assert.ok(!c.unsettled)
})

test('what is wanted again while it is held stays when the hold ends', () => {
  const { c, put, teams } = calculator()
  put(ofTeam('b'))
  const left = c.epoch
  teams()
  put(ofTeam('a'))
  c.settle(left)
  assert.equal(teams(), 'ab')
  c.settle(c.epoch)
  assert.equal(teams(), 'a')
})

test('a group that lost its last endpoint goes by the epoch of that, not if somebody joined it since', () => {
  const { c, put } = calculator()
  const group = () => c.endpoints.values().next().value!.groups.ingress
  const only = (selector: string) =>
    globalPolicy('q', { order: 20, selector, types: ['Ingress'], ingress: [{ action: 'Deny' }] })
  put(only("role == 'server'"))
  const before = group()
  put(server('other'))
  const left = c.epoch
  assert.notEqual(group(), before)
  put(server('server'))
  assert.equal(group(), before)
  c.settle(left)
  assert.ok(!before.gone)
  assert.ok(before.programs[4].stages.length > 0)
  put(server('other'))
  c.settle(left)
  assert.ok(!before.gone, 'it is empty since a later epoch')
  c.settle(c.epoch)
  assert.ok(before.gone)
})
