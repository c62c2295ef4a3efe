// A command line over a store in memory, for tests: what is printed where, and the exit code.
import path from 'node:path'
import { Readable } from 'node:stream'
import { openMemory } from '../../io/store/memory.ts'
import type { Store } from '../../io/store/store.ts'
import type { AgentStatus, Agents, Answer, OutcomeCounter } from './agents.ts'
import { run } from './cli.ts'
import { openClient } from './client.ts'

export const EXAMPLES = path.join(import.meta.dirname, '../../../examples')
export const SEED = path.join(EXAMPLES, 'allow-backend-to-frontend.yaml')
export const SEED_SENTENCE =
  "It restricts ingress and egress traffic to pods labeled 'role=frontend' to only communicate with pods labeled 'role=backend'."

export type Fakes = {
  status?: Record<string, Answer<AgentStatus>>
  counters?: Record<string, readonly OutcomeCounter[]>
}

export const fakeAgents = ({ status = {}, counters = {} }: Fakes): Agents => ({
  nodes: async () => Object.keys(status).sort(),
  status: async node => status[node] ?? { ok: false, why: 'no socket' },
  counters: async node => {
    const value = counters[node]
    return value ? { ok: true, value } : { ok: false, why: 'no socket' }
  },
})

export type Run = { code: number; out: string; err: string }

/** A command line over one store that lives as long as the test. */
export function shell(fakes: Fakes = {}) {
  const store = openMemory()
  // Every command closes what it opened; the store of the test stays.
  const kept: Store = Object.assign(Object.create(store) as Store, {
    get: store.get.bind(store),
    list: store.list.bind(store),
    put: store.put.bind(store),
    delete: store.delete.bind(store),
    close: () => {},
  })
  const gingham = async (args: string[], stdin = ''): Promise<Run> => {
    const result = { code: 0, out: '', err: '' }
    result.code = await run(args, {
      terminal: {
        out: text => {
          result.out += text
        },
        err: text => {
          result.err += text
        },
        stdin: Readable.from([stdin]),
      },
      connect: async () => openClient(kept),
      agents: fakeAgents(fakes),
      version: '1.2.3',
    })
    return result
  }
  return { gingham, store }
}

export const WORLD = `
apiVersion: v1
kind: Namespace
metadata: {name: default}
---
apiVersion: v1
kind: Pod
metadata: {name: frontend, namespace: default, labels: {role: frontend}}
spec: {nodeName: node-a}
status: {podIPs: [{ip: 10.0.0.1}, {ip: "fd00::1"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: backend, namespace: default, labels: {role: backend}}
spec: {nodeName: node-b, containers: [{ports: [{name: http, containerPort: 8080}]}]}
status: {podIPs: [{ip: 10.0.0.2}, {ip: "fd00::2"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: other, namespace: default, labels: {role: other}}
spec: {nodeName: node-a}
status: {podIPs: [{ip: 10.0.0.3}]}
`
