// What an agent keeps of a large cluster's pods: the list from an API server page by page, then memory for each pod. The server
// is a process of its own that makes the pods up, as large as those of a real one.
//
// It runs as the image's programs do: bundled, and with the image's settings.
//
//   node_modules/.bin/node bench/kubernetes-pods.ts [--write] [--pods N]
import { fork, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import pino from 'pino'
import { ResourceView } from '../src/apps/agent/resources.ts'
import { bundle, NODE_FLAGS } from '../src/apps/image/programs.ts'
import { makeCertificates } from '../src/apps/lab/kubernetes/certificates.ts'
import { openKubernetes } from '../src/io/store/open-kubernetes.ts'
import { decimals, markdown, report, whole } from './report.ts'

const { values } = parseArgs({
  options: {
    write: { type: 'boolean', default: false },
    pods: { type: 'string', default: '50000' },
    serve: { type: 'string' },
    bundled: { type: 'boolean', default: false },
  },
})
const PODS = Number(values.pods)

/** A pod of a Deployment as an API server has it: about 4 KB. */
function pod(i: number): object {
  const hash = (i * 2654435761) % 2 ** 32
  const app = `app-${i % 500}`
  const ip = `10.${128 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`
  const environment = Array.from({ length: 8 }, (_, n) => ({ name: `SETTING_${n}`, value: `value-${n}-of-${app}` }))
  const probe = { httpGet: { path: '/healthz', port: 'http', scheme: 'HTTP' }, timeoutSeconds: 1, periodSeconds: 10 }
  const own = {
    'f:metadata': {
      'f:labels': { 'f:app': {}, 'f:pod-template-hash': {} },
      'f:ownerReferences': { 'k:{"uid":"x"}': {} },
    },
  }
  return {
    metadata: {
      name: `${app}-${hash.toString(16)}-${(i % 46656).toString(36)}`,
      generateName: `${app}-`,
      namespace: `team-${i % 50}`,
      uid: `00000000-0000-4000-8000-${hash.toString(16).padStart(12, '0')}`,
      resourceVersion: String(1000 + i),
      creationTimestamp: '2026-11-24T00:00:00Z',
      labels: {
        app,
        'pod-template-hash': hash.toString(16),
        tier: i % 2 ? 'web' : 'db',
        'app.kubernetes.io/name': app,
      },
      annotations: {
        'cni.projectcalico.org/podIP': `${ip}/32`,
        'cni.projectcalico.org/podIPs': `${ip}/32`,
        'kubectl.kubernetes.io/restartedAt': 'x',
      },
      ownerReferences: [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: app, uid: 'x', controller: true }],
      managedFields: Array.from({ length: 2 }, (_, n) => ({ manager: `m${n}`, operation: 'Update', fieldsV1: own })),
    },
    spec: {
      nodeName: `node-${i % 1000}`,
      serviceAccountName: 'default',
      containers: [0, 1].map(n => ({
        name: `c${n}`,
        image: `registry.example.org/${app}:1.2.${n}`,
        ports: n === 0 ? [{ name: 'http', containerPort: 8080, protocol: 'TCP' }] : undefined,
        env: environment,
        resources: { requests: { cpu: '100m', memory: '128Mi' }, limits: { memory: '256Mi' } },
        volumeMounts: [{ name: 'token', mountPath: '/var/run/secrets/kubernetes.io/serviceaccount', readOnly: true }],
        livenessProbe: probe,
        readinessProbe: probe,
      })),
      volumes: [
        {
          name: 'token',
          projected: { sources: [{ serviceAccountToken: { expirationSeconds: 3607, path: 'token' } }] },
        },
      ],
      tolerations: [
        { key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 300 },
      ],
    },
    status: {
      phase: 'Running',
      podIP: ip,
      podIPs: [{ ip }],
      hostIP: '172.31.0.1',
      conditions: ['Initialized', 'Ready', 'ContainersReady', 'PodScheduled'].map(type => ({ type, status: 'True' })),
      containerStatuses: [0, 1].map(n => ({
        name: `c${n}`,
        ready: true,
        restartCount: 0,
        imageID: `sha256:${'0'.repeat(64)}`,
      })),
    },
  }
}

function serve(folder: string): void {
  const file = (name: string): Buffer => readFileSync(join(folder, name))
  const server = createServer({ cert: file('apiserver.crt'), key: file('apiserver.key') }, (request, response) => {
    const url = new URL(request.url!, 'https://x')
    const answer = (body: object): void => void response.end(JSON.stringify(body))
    if (url.pathname === '/apis') return answer({ groups: [{ name: 'projectcalico.org' }] })
    // A watch in which nothing happens.
    if (url.searchParams.has('watch')) return void response.writeHead(200).flushHeaders()
    if (url.pathname !== '/api/v1/pods') return answer({ metadata: { resourceVersion: '1' }, items: [] })
    const begin = Number(url.searchParams.get('continue') ?? 0)
    const end = Math.min(PODS, begin + Number(url.searchParams.get('limit')))
    const items = Array.from({ length: end - begin }, (_, i) => pod(begin + i))
    const more = end < PODS ? { continue: String(end) } : {}
    answer({ metadata: { resourceVersion: String(1000 + PODS), ...more }, items })
  })
  server.listen(0, '127.0.0.1', () => process.send!((server.address() as { port: number }).port))
}

async function measure(folder: string): Promise<void> {
  await makeCertificates(folder, ['127.0.0.1'])
  const child = fork(fileURLToPath(import.meta.url), ['--serve', folder, '--pods', String(PODS)])
  process.once('exit', () => child.kill())
  const port = await new Promise<number>(resolve => child.once('message', resolve))
  // As a pod of the cluster, which an agent is.
  writeFileSync(join(folder, 'token'), 'x')
  const env = { KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: String(port) }
  const store = await openKubernetes({ inCluster: true, folder, env }, { detail: 'slim' })
  // What the programs themselves take is there before the first pod.
  await store.list('/registry/namespaces/')
  const settle = (): NodeJS.MemoryUsage => {
    globalThis.gc?.()
    return process.memoryUsage()
  }
  const before = settle()
  const begun = performance.now()
  let view: ResourceView | undefined
  await new Promise<void>(resolve => {
    view = new ResourceView(store, { node: 'node-0', log: pino({ level: 'silent' }), onChange: () => resolve() })
  })
  const seconds = (performance.now() - begun) / 1000
  const peak = process.resourceUsage().maxRSS / 1024
  const after = settle()
  const endpoints = [...view!.view.values()].filter(({ kind }) => kind === 'WorkloadEndpoint').length
  if (endpoints !== PODS) throw new Error(`${endpoints} endpoints of ${PODS} pods`)
  const [mb, kb] = [1024 * 1024, 1024]
  const rows = [
    ['pods', whole(PODS)],
    ['a pod as the API server sends it, KB', decimals(1)(JSON.stringify(pod(1)).length / kb)],
    ['first list to a whole view, s', decimals(1)(seconds)],
    ['heap for each pod, with its endpoint, bytes', whole((after.heapUsed - before.heapUsed) / PODS)],
    ['heap before and after, MB', `${whole(before.heapUsed / mb)}, ${whole(after.heapUsed / mb)}`],
    ['resident before and after, MB', `${whole(before.rss / mb)}, ${whole(after.rss / mb)}`],
    ['resident at most, MB', whole(peak)],
  ]
  report(
    'kubernetes-pods',
    `## What an agent keeps of a cluster's pods\n\n\`node bench/kubernetes-pods.ts\`: an API server (made up, in another process) with many pods; the agent's view of them, bundled and with the settings of the image.\n\n${markdown(['', 'value'], rows)}`,
  )
  view!.close()
  store.close()
}

/** The same again as the image would run it; gives its exit code. */
function bundled(): number {
  const root = join(import.meta.dirname, '..')
  const folder = mkdtempSync(join(root, 'build/bench-'))
  try {
    bundle(root, { bench: fileURLToPath(import.meta.url) }, folder)
    const args = [...NODE_FLAGS, '--expose-gc', join(folder, 'bench.js'), '--bundled', ...process.argv.slice(2)]
    return spawnSync(process.execPath, args, { stdio: 'inherit' }).status ?? 1
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

if (values.serve !== undefined) serve(values.serve)
else if (!values.bundled) process.exitCode = bundled()
else {
  const folder = mkdtempSync(join(tmpdir(), 'gingham-bench-'))
  try {
    await measure(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  // What it started would keep it.
  process.exit()
}
