// Who a pod is to the API server, from the files that the kubelet puts there and renews. Apart from kubeconfigs, whose library
// is large: an agent on every node needs none of it (90 MB of memory, half a second).
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Identity } from './credentials.ts'

/** Where the kubelet mounts them. */
const FOLDER = '/var/run/secrets/kubernetes.io/serviceaccount'
/** Tokens are renewed long before they end; Kubernetes' own clients look once a minute. */
const LOOK_AGAIN_MS = 60_000

/** Where a pod finds what it is told; the real places if absent. */
export type PodPlace = { readonly env?: Readonly<Record<string, string | undefined>>; readonly folder?: string }

/** The API server as the environment of a pod names it. Throws if it does not. */
export function clusterServer(env: PodPlace['env'] = process.env): string {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = '443' } = env
  if (!host) throw new Error('KUBERNETES_SERVICE_HOST is not set: this is no pod of a cluster')
  return `https://${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** Looks at the files: the last answer holds for a minute, unless it is `renew`ed. */
export class ServiceAccount {
  readonly #folder: string
  #last: { readonly at: number; readonly identity: Identity } | undefined

  constructor(folder = FOLDER) {
    this.#folder = folder
  }

  renew(): void {
    this.#last = undefined
  }

  async look(): Promise<Identity> {
    if (this.#last === undefined || performance.now() - this.#last.at > LOOK_AGAIN_MS) {
      const [token, ca] = await Promise.all(['token', 'ca.crt'].map(name => readFile(join(this.#folder, name), 'utf8')))
      const identity = { tls: { ca: ca! }, headers: { Authorization: `Bearer ${token!.trim()}` } }
      this.#last = { at: performance.now(), identity }
    }
    return this.#last.identity
  }
}
