// Which datastore the agent works on: the embedded one behind its socket, or a Kubernetes API server, and then the node in it.
import { setTimeout as sleep } from 'node:timers/promises'
import { ALL_BLOCKS, handleKey, ownersPrefix } from '../../core/ipam/keys.ts'
import type { ApiGroup } from '../../core/kubernetes/collection.ts'
import { storePrefix } from '../../core/resources/store-key.ts'
import { ApiClient } from '../../io/kubernetes/api-client.ts'
import { type Credentials, readCredentials } from '../../io/kubernetes/credentials.ts'
import { putNetworkAvailable, readInternalIps } from '../../io/kubernetes/own-node.ts'
import type { Logger } from '../../io/log.ts'
import { CachedStore } from '../../io/store/cached.ts'
import { openEmbedded } from '../../io/store/embedded.ts'
import { kubernetesStore } from '../../io/store/open-kubernetes.ts'
import { readSettings } from '../../io/store/settings.ts'
import type { Store } from '../../io/store/store.ts'
import type { ClusterNode } from './node-start.ts'
import type { DatastoreOptions } from './options.ts'

export type Datastore = {
  /** Told an error when the datastore cannot be reached, nothing when it can again. */
  readonly open: (onConnection: (error: Error | undefined) => void) => Store
  readonly cluster: ClusterNode | undefined
  /** What should be known of it, in words, for the status. */
  readonly problems: () => readonly string[]
}

const RETRY_MS = 1000

/**
 * What is read with every pod, and is small: the blocks of addresses and whose they are, pools and settings. Not what there is
 * one of for each pod.
 */
const CACHED = [
  ...[ALL_BLOCKS, ownersPrefix('host')],
  ...(['IPAMConfiguration', 'IPPool', 'IPReservation', 'ClusterInformation', 'Namespace', 'Node'] as const).map(kind =>
    storePrefix(kind),
  ),
]

/** A container's addresses are given and taken by the agent of its node. */
const HANDLES = handleKey('')

/** Waits for credentials that are not there yet: an installer may still write them. */
export async function findDatastore(options: DatastoreOptions, node: string, log: Logger): Promise<Datastore> {
  if (options.kind === 'embedded') {
    const { socket } = options
    return { open: onConnection => openEmbedded({ socket, onConnection }), cluster: undefined, problems: () => [] }
  }
  const credentials = await waitForCredentials(log)
  const api = new ApiClient(credentials)
  const problems: string[] = []
  const onGroup = (group: ApiGroup): void => {
    if (group === 'projectcalico.org/v3') return
    problems.push(
      `the cluster keeps Calico’s resources in the older group ${group}, where they are read and not written`,
    )
    log.warn(problems.at(-1)!)
  }
  return {
    open: onConnection =>
      new CachedStore(kubernetesStore(credentials, { onConnection, onGroup, detail: 'slim' }), CACHED, HANDLES),
    cluster: {
      readInternalIps: () => readInternalIps(api, node),
      putNetworkAvailable: () => putNetworkAvailable(api, node, new Date()),
    },
    problems: () => problems,
  }
}

async function waitForCredentials(log: Logger): Promise<Credentials> {
  for (;;) {
    try {
      const settings = readSettings({ env: { ...process.env, DATASTORE_TYPE: 'kubernetes' }, defaultFile: false })
      if (settings.type !== 'kubernetes') throw new Error(`the settings name the datastore ${settings.type}`)
      return await readCredentials(settings.source)
    } catch (error) {
      log.error({ err: error }, 'no way to the Kubernetes API server yet; trying again')
      await sleep(RETRY_MS)
    }
  }
}
