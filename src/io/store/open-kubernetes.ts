// Opens the datastore over the Kubernetes API. Loaded only by those who want it: the libraries behind it are large.
import { ApiClient, type ApiClientOptions } from '../kubernetes/api-client.ts'
import { type CredentialSource, readCredentials } from '../kubernetes/credentials.ts'
import { KubernetesStore } from './kubernetes/store.ts'
import type { Store } from './store.ts'

/** Throws if the credentials cannot be read; the server is asked with the first request. */
export async function openKubernetes(source: CredentialSource, options: ApiClientOptions = {}): Promise<Store> {
  return new KubernetesStore(new ApiClient(await readCredentials(source), options))
}
