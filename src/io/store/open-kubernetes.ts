// Opens the datastore over the Kubernetes API. Loaded only by those who want it: the libraries behind it are large.
import type { ApiGroup } from '../../core/kubernetes/collection.ts'
import { ApiClient, type ApiClientOptions } from '../kubernetes/api-client.ts'
import { findApiGroup } from '../kubernetes/api-group.ts'
import { type CredentialSource, type Credentials, readCredentials } from '../kubernetes/credentials.ts'
import { KubernetesStore, type StoreOptions } from './kubernetes/store.ts'
import type { Store } from './store.ts'

export type KubernetesOptions = ApiClientOptions &
  Pick<StoreOptions, 'detail'> & {
    /** Told once which of Calico's groups the cluster uses. */
    readonly onGroup?: (group: ApiGroup) => void
  }

/** Throws if the credentials cannot be read; the server is asked with the first request. */
export async function openKubernetes(source: CredentialSource, options: KubernetesOptions = {}): Promise<Store> {
  return kubernetesStore(await readCredentials(source), options)
}

/** The same with credentials that were read; `CALICO_API_GROUP` chooses between Calico's two groups, as it does for Calico. */
export function kubernetesStore(
  credentials: Credentials,
  { detail = 'whole', onGroup, ...options }: KubernetesOptions = {},
): Store {
  const findGroup = async (client: ApiClient): Promise<ApiGroup> => {
    const group = await findApiGroup(client, process.env.CALICO_API_GROUP)
    onGroup?.(group)
    return group
  }
  return new KubernetesStore(new ApiClient(credentials, options), { findGroup, detail })
}
