// Which datastore the agent works on, opened: the store, and, where the datastore is a Kubernetes cluster, the node in it.
import { ApiClient } from '../../io/kubernetes/api-client.ts'
import { readCredentials } from '../../io/kubernetes/credentials.ts'
import { putNetworkAvailable, readInternalIps } from '../../io/kubernetes/own-node.ts'
import { openEmbedded } from '../../io/store/embedded.ts'
import { KubernetesStore } from '../../io/store/kubernetes/store.ts'
import { readSettings } from '../../io/store/settings.ts'
import type { Store } from '../../io/store/store.ts'
import type { ClusterNode } from './node-start.ts'
import type { DatastoreOptions } from './options.ts'

export type Datastore = {
  /** Told an error when the datastore cannot be reached, nothing when it can again. */
  readonly open: (onConnection: (error?: Error) => void) => Store
  readonly cluster: ClusterNode | undefined
}

/** Throws if the credentials cannot be read; nothing is asked yet. */
export async function findDatastore(options: DatastoreOptions, node: string): Promise<Datastore> {
  if (options.kind === 'embedded') {
    const { socket } = options
    return { open: onConnection => openEmbedded({ socket, onConnection }), cluster: undefined }
  }
  const settings = readSettings({ env: { ...process.env, DATASTORE_TYPE: 'kubernetes' } })
  if (settings.type !== 'kubernetes') throw new Error(`the settings name the datastore ${settings.type}`)
  let reached: boolean | undefined
  let tell: (error?: Error) => void = () => {}
  const api = new ApiClient(await readCredentials(settings.source), {
    onReached: error => {
      if (reached === (error === undefined)) return
      reached = error === undefined
      tell(error)
    },
  })
  return {
    open: onConnection => {
      tell = onConnection
      return new KubernetesStore(api)
    },
    cluster: {
      readInternalIps: () => readInternalIps(api, node),
      putNetworkAvailable: () => putNetworkAvailable(api, node, new Date()),
    },
  }
}
