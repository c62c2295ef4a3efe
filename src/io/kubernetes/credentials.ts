// Where an API server is and how a request shows who asks: from a kubeconfig (certificates, tokens, token files, plugins that
// print credentials) or from a pod's service account. Credentials change while a program runs: files are read anew.
import { readFile } from 'node:fs/promises'
import { Agent, type AgentOptions } from 'node:https'
import { dirname, resolve } from 'node:path'
import type { KubeConfig, User } from '@kubernetes/client-node'
import { parse } from 'yaml'
import { clusterServer, type PodPlace, ServiceAccount } from './service-account.ts'

export type CredentialSource =
  | { readonly kubeconfig: string; readonly context?: string | undefined }
  | { readonly inline: string; readonly context?: string | undefined }
  | ({ readonly inCluster: true } & PodPlace)

/** What one request needs. */
export type Access = {
  readonly agent: Agent
  readonly headers: Readonly<Record<string, string>>
}

export type Credentials = {
  /** The API server's URL, without a slash at its end. */
  readonly server: string
  access(): Promise<Access>
  /** The server did not accept what `access` gave: it is read anew. */
  renew(): void
  close(): void
}

/** Credentials in files are renewed long before they end; Kubernetes' own clients look once a minute. */
const LOOK_AGAIN_MS = 60_000
/** The kernel probes a silent connection after so long, and gives it up some seconds later. */
const KEEP_ALIVE_MS = 15_000

/** Who asks, as one look found it. `agent`: the way through a proxy. */
export type Identity = {
  readonly tls: TlsOptions
  readonly headers: Readonly<Record<string, string>>
  readonly agent?: Agent
}
type TlsOptions = Pick<AgentOptions, 'ca' | 'cert' | 'key' | 'servername' | 'rejectUnauthorized'>

/** Where identities come from; what it found before it keeps as long as that holds, or until it is renewed. */
type Issuer = { look(): Promise<Identity>; renew(): void }

type KubeconfigSource = Exclude<CredentialSource, { inCluster: true }>

async function load(source: KubeconfigSource): Promise<KubeConfig> {
  // The library is large: programs that need no API server do not pay for it.
  const { KubeConfig } = await import('@kubernetes/client-node')
  const config = new KubeConfig()
  const folder = 'inline' in source ? process.cwd() : dirname(source.kubeconfig)
  const text = 'inline' in source ? source.inline : await readFile(source.kubeconfig, 'utf8')
  config.loadFromString(text)
  config.makePathsAbsolute(folder)
  config.users = config.users.map(user => withTokenFile(user, tokenFiles(text).get(user.name), folder))
  if (source.context !== undefined) config.setCurrentContext(source.context)
  return config
}

/** `tokenFile` of each user: the library looks for it under a name that no kubeconfig has. */
function tokenFiles(text: string): ReadonlyMap<string, string> {
  const { users } = (parse(text) ?? {}) as { users?: readonly { name?: string; user?: { tokenFile?: string } }[] }
  return new Map((users ?? []).flatMap(({ name, user }) => (name && user?.tokenFile ? [[name, user.tokenFile]] : [])))
}

const withTokenFile = (user: User, file: string | undefined, folder: string): User =>
  file === undefined || user.token
    ? user
    : { ...user, authProvider: { name: 'tokenFile', config: { tokenFile: resolve(folder, file) } } }

/** Throws if the kubeconfig cannot be read or its context names no cluster, or if this is no pod. */
export async function readCredentials(source: CredentialSource): Promise<Credentials> {
  if ('inCluster' in source) return new LiveCredentials(clusterServer(source.env), new ServiceAccount(source.folder))
  const first = await load(source)
  const cluster = first.getCurrentCluster()
  if (cluster === null) throw new Error(`the context ${first.getCurrentContext() || '(none)'} names no cluster`)
  return new LiveCredentials(cluster.server.replace(/\/+$/, ''), new Kubeconfig(source, first))
}

type Applied = TlsOptions & { headers?: Record<string, string>; auth?: string; agent?: Agent }

class Kubeconfig implements Issuer {
  readonly #source: KubeconfigSource
  #config: KubeConfig | undefined
  #readAt = performance.now()

  constructor(source: KubeconfigSource, config: KubeConfig) {
    this.#source = source
    this.#config = config
  }

  renew(): void {
    this.#config = undefined
  }

  async look(): Promise<Identity> {
    // A plugin says itself how long its answer holds, and is not asked again before.
    const isOld = performance.now() - this.#readAt > LOOK_AGAIN_MS
    if (this.#config === undefined || (isOld && this.#config.getCurrentUser()?.exec === undefined)) {
      this.#config = await load(this.#source)
      this.#readAt = performance.now()
    }
    const config = this.#config
    const applied: Applied = {}
    await config.applyToHTTPSOptions(applied as Parameters<KubeConfig['applyToHTTPSOptions']>[0])
    const { headers: given = {}, auth, agent, ...tls } = applied
    const headers: Record<string, string> = {}
    for (const [name, value] of Object.entries(given)) headers[name] = value.trim()
    if (auth) headers.Authorization = `Basic ${Buffer.from(auth).toString('base64')}`
    return { tls, headers, ...(config.getCurrentCluster()?.proxyUrl && agent ? { agent } : {}) }
  }
}

class LiveCredentials implements Credentials {
  readonly server: string
  readonly #issuer: Issuer
  #agent: { readonly identity: string; readonly agent: Agent } | undefined
  #pending: Promise<Access> | undefined

  constructor(server: string, issuer: Issuer) {
    this.server = server
    this.#issuer = issuer
  }

  /** Requests that begin together share one look: a plugin is asked once. */
  access(): Promise<Access> {
    this.#pending ??= this.#look().finally(() => {
      this.#pending = undefined
    })
    return this.#pending
  }

  renew(): void {
    this.#issuer.renew()
  }

  close(): void {
    this.#agent?.agent.destroy()
  }

  async #look(): Promise<Access> {
    const { tls, headers, agent } = await this.#issuer.look()
    return { agent: agent ?? this.#agentFor(tls), headers }
  }

  /** Connections are kept while the certificates stay the same. */
  #agentFor({ ca, cert, key, servername, rejectUnauthorized }: TlsOptions): Agent {
    const parts = { ca, cert, key, servername, rejectUnauthorized }
    const identity = JSON.stringify(Object.values(parts).map(part => part?.toString()))
    if (this.#agent?.identity === identity) return this.#agent.agent
    const given = Object.fromEntries(Object.entries(parts).filter(([, value]) => value !== undefined && value !== null))
    const agent = new Agent({ ...given, keepAlive: true, keepAliveMsecs: KEEP_ALIVE_MS })
    this.#agent = { identity, agent }
    return agent
  }
}
