// The datastore as the commands see it: typed resources, all of them at once, and the address blocks.
import { type Block, decodeBlock } from '../../core/ipam/block.ts'
import { blocksPrefix } from '../../core/ipam/keys.ts'
import { FAMILIES } from '../../core/net/addr.ts'
import { KIND_NAMES, type Kind, type Resource, type Snapshot, snapshotOf } from '../../core/resources/resource.ts'
import { ResourceClient } from '../../io/store/resource-client.ts'
import { identify } from '../../io/store/resource-error.ts'
import { type Store, StoreError } from '../../io/store/store.ts'

export type World = {
  /** As stored; what follows from it is for `derived` to add. */
  readonly resources: Snapshot
  /** Of the newest list: each kind is read at one revision, several kinds at slightly different ones. */
  readonly revision: number
  /** What lies in the datastore and is no valid resource, one line each. */
  readonly problems: readonly string[]
}

export type Client = {
  readonly resources: ResourceClient
  /** Everything, or the resources of some kinds. */
  read(kinds?: readonly Kind[]): Promise<World>
  /** The IPAM blocks of both families. */
  blocks(): Promise<readonly Block[]>
  close(): void
}

export function openClient(store: Store): Client {
  const client = new ResourceClient(store)
  return {
    resources: client,
    async read(kinds = KIND_NAMES) {
      const lists = await Promise.all(kinds.map(kind => client.list(kind)))
      return {
        resources: snapshotOf(lists.flatMap(list => list.items as readonly Resource[])),
        revision: Math.max(...lists.map(list => list.revision)),
        problems: lists.flatMap(list =>
          list.undecodable.map(({ key, problems }) => {
            const { path, message } = problems[0] ?? { path: '', message: 'cannot be read' }
            return `${identify(key)} is not valid: ${path} ${message}`
          }),
        ),
      }
    },
    async blocks() {
      const lists = await Promise.all(FAMILIES.map(family => store.list(blocksPrefix(family))))
      return lists.flatMap(({ entries }) =>
        entries.map(({ key, value }) => {
          const block = decodeBlock(value)
          if (!block.ok) throw new StoreError('invalid', `${key}: ${block.problems[0]?.message}`, { key })
          return block.value
        }),
      )
    },
    close: () => store.close(),
  }
}
