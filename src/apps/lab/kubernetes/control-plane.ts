// A Kubernetes control plane in a network namespace of its own: etcd and kube-apiserver, reached from outside through a port
// of this process on the loopback address. It knows nothing of nodes; whoever needs controllers starts them beside it.
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { ApiClient } from '../../../io/kubernetes/api-client.ts'
import { readCredentials } from '../../../io/kubernetes/credentials.ts'
import { lastLines, type Part, startPart } from '../part.ts'
import type { RunFolder } from '../run-folder.ts'
import { kubeconfig, makeCertificates } from './certificates.ts'
import { API_COMPONENTS, componentPath, missingComponents } from './components.ts'

const API_PORT = 6443
const SERVICE_CIDRS = ['10.96.0.0/16', 'fd00:10:96::/112'] as const
/** The first address of the service networks: the API server as pods see it. */
const SERVICE_ADDRESS = '10.96.0.1'
const PATIENCE_MS = 60_000
const PARTS = ['etcd', 'kube-apiserver', 'relay']

export type ControlPlaneOptions = {
  /** Namespaces are named PREFIX-control-plane. */
  readonly prefix: string
  /** The API server's own address, if nodes are to reach it: an interface of that address must be in the namespace. */
  readonly address?: string
  readonly apiserverArgs?: readonly string[]
}

export class ControlPlane {
  readonly namespace: string
  /** `https://127.0.0.1:PORT`. */
  readonly server: string
  readonly kubeconfig: string
  /** Certificates and keys. */
  readonly pki: string
  /** By name, in the order of starting. */
  readonly #parts: Map<string, Part>
  readonly #startPart: (name: string) => Part
  readonly #forwarder: Forwarder

  private constructor(fields: {
    namespace: string
    kubeconfig: string
    pki: string
    startPart: (name: string) => Part
    forwarder: Forwarder
  }) {
    this.namespace = fields.namespace
    this.server = fields.forwarder.url
    this.kubeconfig = fields.kubeconfig
    this.pki = fields.pki
    this.#startPart = fields.startPart
    this.#parts = new Map(PARTS.map(name => [name, fields.startPart(name)]))
    this.#forwarder = fields.forwarder
  }

  /** Starts it and waits until it is ready. What it leaves in the machine is recorded in the run folder. */
  static async start(folder: RunFolder, options: ControlPlaneOptions): Promise<ControlPlane> {
    const missing = missingComponents(API_COMPONENTS)
    if (missing.length > 0) throw new Error(`${missing.join(', ')}: not built (npm run kubernetes:build)`)
    const namespace = `${options.prefix}-control-plane`
    folder.recordNamespace(namespace)
    execFileSync('ip', ['netns', 'add', namespace])
    execFileSync('ip', ['-n', namespace, 'link', 'set', 'lo', 'up'])
    const pki = folder.folder('pki')
    const address = options.address ?? '127.0.0.1'
    await makeCertificates(pki, [...new Set(['127.0.0.1', address, SERVICE_ADDRESS])])
    const socket = join(folder.path, 'apiserver.sock')
    const relay = fileURLToPath(new URL('relay.ts', import.meta.url))
    const apiserver = [...apiserverArgs(pki, options.address), ...(options.apiserverArgs ?? [])]
    const commands: Readonly<Record<string, readonly string[]>> = {
      etcd: [componentPath('etcd'), ...etcdArgs(folder.folder('etcd'))],
      'kube-apiserver': [componentPath('kube-apiserver'), ...apiserver],
      relay: [process.execPath, relay, socket, '127.0.0.1', String(API_PORT)],
    }
    const start = (name: string): Part => startPart(folder, { name, namespace, command: commands[name]! })
    const forwarder = await Forwarder.open(socket)
    const file = join(folder.path, 'kubeconfig')
    writeFileSync(file, kubeconfig(forwarder.url, pki), { mode: 0o600 })
    const plane = new ControlPlane({ namespace, kubeconfig: file, pki, startPart: start, forwarder })
    await plane.#ready()
    return plane
  }

  /** A client of the API server's administrator. */
  async client(): Promise<ApiClient> {
    return new ApiClient(await readCredentials({ kubeconfig: this.kubeconfig }))
  }

  /** Cuts every connection, as a load balancer that restarts does. */
  cut(): void {
    this.#forwarder.cut()
  }

  /** While true, connections stay open and nothing goes through. */
  stall(stalled: boolean): void {
    this.#forwarder.stall(stalled)
  }

  /** Ends the forwarding; the processes end with the run folder's. */
  async stop(): Promise<void> {
    this.#forwarder.close()
    for (const part of [...this.#parts.values()].reverse()) await part.stop()
  }

  /** Ends the API server at once, as a machine that fails does; everything else goes on. */
  async kill(): Promise<void> {
    const part = this.#parts.get('kube-apiserver')!
    process.kill(part.id.pid, 'SIGKILL')
    await part.ended
  }

  /** Starts the API server again and waits until it is ready. */
  async revive(): Promise<void> {
    this.#parts.set('kube-apiserver', this.#startPart('kube-apiserver'))
    await this.#ready()
  }

  async #ready(): Promise<void> {
    const client = await this.client()
    const deadline = performance.now() + PATIENCE_MS
    try {
      for (;;) {
        const dead = [...this.#parts.values()].find(part => !part.alive())
        if (dead) throw new Error(`${dead.name} ended:\n${lastLines(dead.log)}`)
        const answer = await client.request('GET', '/readyz').catch(() => undefined)
        if (answer === 'ok') return
        if (performance.now() > deadline) {
          throw new Error(
            `the API server is not ready after ${PATIENCE_MS / 1000} s:\n${lastLines(this.#parts.get('kube-apiserver')!.log)}`,
          )
        }
        await sleep(50)
      }
    } finally {
      client.close()
    }
  }
}

function etcdArgs(data: string): string[] {
  const [client, peer] = ['http://127.0.0.1:2379', 'http://127.0.0.1:2380']
  return [
    ...['--name=lab', `--data-dir=${data}`, `--initial-cluster=lab=${peer}`],
    ...[`--listen-client-urls=${client}`, `--advertise-client-urls=${client}`],
    ...[`--listen-peer-urls=${peer}`, `--initial-advertise-peer-urls=${peer}`],
    // A lab's cluster does not outlive the machine.
    '--unsafe-no-fsync',
  ]
}

function apiserverArgs(pki: string, address: string | undefined): string[] {
  const file = (name: string): string => join(pki, name)
  return [
    '--etcd-servers=http://127.0.0.1:2379',
    ...[`--secure-port=${API_PORT}`, '--bind-address=0.0.0.0', `--advertise-address=${address ?? '127.0.0.1'}`],
    // A loopback address cannot be an endpoint of the service `kubernetes`; without nodes nobody asks for it.
    ...(address === undefined ? ['--endpoint-reconciler-type=none'] : []),
    ...[`--service-cluster-ip-range=${SERVICE_CIDRS.join(',')}`, '--allow-privileged=true'],
    ...['--authorization-mode=Node,RBAC', '--enable-admission-plugins=NodeRestriction'],
    `--client-ca-file=${file('ca.crt')}`,
    ...[`--tls-cert-file=${file('apiserver.crt')}`, `--tls-private-key-file=${file('apiserver.key')}`],
    `--kubelet-client-certificate=${file('apiserver-kubelet.crt')}`,
    `--kubelet-client-key=${file('apiserver-kubelet.key')}`,
    `--kubelet-certificate-authority=${file('ca.crt')}`,
    '--kubelet-preferred-address-types=InternalIP,Hostname',
    '--service-account-issuer=https://kubernetes.default.svc.cluster.local',
    `--service-account-key-file=${file('sa.pub')}`,
    `--service-account-signing-key-file=${file('sa.key')}`,
    `--requestheader-client-ca-file=${file('front-proxy-ca.crt')}`,
    '--requestheader-allowed-names=front-proxy-client',
    '--requestheader-extra-headers-prefix=X-Remote-Extra-',
    ...['--requestheader-group-headers=X-Remote-Group', '--requestheader-username-headers=X-Remote-User'],
    `--proxy-client-cert-file=${file('front-proxy.crt')}`,
    `--proxy-client-key-file=${file('front-proxy.key')}`,
  ]
}

/** From a free port on the loopback address to a unix socket. */
class Forwarder {
  readonly url: string
  readonly #server: Server
  readonly #pairs: Set<readonly [Socket, Socket]>
  #stalled = false

  private constructor(server: Server, pairs: Set<readonly [Socket, Socket]>) {
    this.#server = server
    this.#pairs = pairs
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('the forwarder has no port')
    this.url = `https://127.0.0.1:${address.port}`
    server.on('connection', () => {
      if (this.#stalled) this.stall(true)
    })
  }

  static async open(socket: string): Promise<Forwarder> {
    const pairs = new Set<readonly [Socket, Socket]>()
    const server = createServer(from => {
      const to = connect(socket)
      const pair = [from, to] as const
      pairs.add(pair)
      from.pipe(to).pipe(from)
      for (const end of pair) {
        end.on('error', () => {})
        end.on('close', () => {
          pairs.delete(pair)
          for (const other of pair) other.destroy()
        })
      }
    })
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve))
    return new Forwarder(server, pairs)
  }

  cut(): void {
    for (const pair of [...this.#pairs]) for (const end of pair) end.destroy()
  }

  stall(stalled: boolean): void {
    this.#stalled = stalled
    for (const [from, to] of this.#pairs) {
      if (stalled) {
        from.unpipe(to)
        to.unpipe(from)
        from.pause()
        to.pause()
      } else {
        from.pipe(to).pipe(from)
      }
    }
  }

  close(): void {
    this.cut()
    this.#server.close()
  }
}
