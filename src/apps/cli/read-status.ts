// Asks every node that has a socket here, and every node that the datastore knows, how it is.
import { stringify } from 'yaml'
import { ofKind } from '../../core/resources/resource.ts'
import { StoreError } from '../../io/store/store.ts'
import type { Agents } from './agents.ts'
import type { Client } from './client.ts'
import { type NodeAnswer, printStatus } from './status.ts'
import { CommandError, type Terminal } from './terminal.ts'

export type StatusContext = {
  readonly connect: () => Promise<Client>
  readonly agents: Agents
  readonly terminal: Terminal
  readonly output: string
}

/** Prints the overview and returns whether all is well. Without a datastore the nodes still answer. */
export async function readStatus({ connect, agents, terminal, output }: StatusContext): Promise<boolean> {
  if (output !== 'text' && output !== 'json' && output !== 'yaml')
    throw new CommandError(`unrecognized output format '${output}'`)
  const { nodes: known, trouble } = await knownNodes(connect)
  const names = [...new Set([...(await agents.nodes()), ...known])].sort()
  const answers: NodeAnswer[] = await Promise.all(
    names.map(async node => ({ node, answer: await agents.status(node) })),
  )
  const { lines, ok } = printStatus(answers)
  if (output !== 'text') {
    const datastore = trouble === undefined ? { ok: true } : { ok: false, why: trouble }
    const all = { datastore, nodes: answers }
    terminal.out(output === 'yaml' ? stringify(all) : `${JSON.stringify(all, undefined, 2)}\n`)
  } else {
    terminal.out(`${lines.join('\n')}\n`)
    if (trouble !== undefined) terminal.err(`${trouble}\n`)
  }
  return ok && trouble === undefined
}

async function knownNodes(connect: () => Promise<Client>): Promise<{ nodes: string[]; trouble?: string }> {
  try {
    const client = await connect()
    try {
      const { resources } = await client.read()
      return { nodes: [...ofKind(resources, 'Node')].map(({ metadata }) => metadata.name) }
    } finally {
      client.close()
    }
  } catch (error) {
    if (error instanceof CommandError || error instanceof StoreError) return { nodes: [], trouble: error.message }
    throw error
  }
}
