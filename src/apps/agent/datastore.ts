// The agent's datastore: the embedded one behind its socket, or a Kubernetes API server.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '../../io/log.ts'
import { openEmbedded } from '../../io/store/embedded.ts'
import { readSettings } from '../../io/store/settings.ts'
import type { Store } from '../../io/store/store.ts'

/** Opens the store; it tells when it can be reached (no error) and when no longer. */
export type OpenStore = (onConnection: (error: Error | undefined) => void) => Store

const RETRY_MS = 1000

/** `datastore` as `--datastore` has it. Waits for credentials that are not there yet: an installer may still write them. */
export async function findStore(datastore: string, log: Logger): Promise<OpenStore> {
  if (datastore !== 'kubernetes') return onConnection => openEmbedded({ socket: datastore, onConnection })
  const [{ readCredentials }, { kubernetesStore }] = await Promise.all([
    import('../../io/kubernetes/credentials.ts'),
    import('../../io/store/open-kubernetes.ts'),
  ])
  for (;;) {
    try {
      const settings = readSettings({ env: { ...process.env, DATASTORE_TYPE: 'kubernetes' }, defaultFile: false })
      if (settings.type !== 'kubernetes') throw new Error('the environment names another datastore')
      const credentials = await readCredentials(settings.source)
      const onGroup = (group: string): void => {
        if (group !== 'projectcalico.org/v3')
          log.warn({ group }, 'the cluster keeps its resources in the older group, which is read and not written')
      }
      return onConnection => kubernetesStore(credentials, { onConnection, onGroup, detail: 'slim' })
    } catch (error) {
      log.error({ err: error }, 'no way to the Kubernetes API server yet; trying again')
      await sleep(RETRY_MS)
    }
  }
}
