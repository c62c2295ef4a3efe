// Everything that a cluster needs to run this project, as Kubernetes objects: one source for `gingham install manifest`, the
// file install/gingham.yaml, and the lab. Applied again it changes nothing.
import { VERSION } from '../base/version.ts'
import { AGENT_RULES } from './access.ts'

/** system-node-critical may be used here without a quota, as Calico does. */
export const NAMESPACE = 'kube-system'
export const AGENT = 'gingham-node'
/** Health and metrics, on the node's loopback address: the port of Calico's Felix. */
const HEALTH_PORT = 9099

export type ManifestOptions = {
  readonly image?: string
  /** The CIDR of the first IPv4 pool. */
  readonly pool?: string
  /** Whether pods get IPv6 addresses; a pool of that family is up to whoever asks for it. */
  readonly ipv6?: boolean
  /** How the agents find their node's address. */
  readonly autodetection?: string
}

export const DEFAULT_IMAGE = `localhost/gingham:${VERSION}`

const LABELS = { 'app.kubernetes.io/name': 'gingham', 'app.kubernetes.io/component': 'node' }
const named = (name: string) => ({ name, labels: LABELS })

const variable = (name: string, value: string) => ({ name, value })

/** A folder of the node, and where the container sees it. */
type Place = {
  readonly name: string
  readonly host: string
  readonly at: string
  readonly type?: 'Directory'
  readonly readOnly?: boolean
  /** What is mounted there later is seen, too. */
  readonly follows?: boolean
}

const INSTALLER_PLACES: readonly Place[] = [
  { name: 'cni-bin', host: '/opt/cni/bin', at: '/host/opt/cni/bin' },
  { name: 'cni-net', host: '/etc/cni/net.d', at: '/host/etc/cni/net.d' },
]

const AGENT_PLACES: readonly Place[] = [
  // Its socket, for the plugin; and BIRD's files, from which the next BIRD knows that routes are in use.
  { name: 'run', host: '/run/gingham', at: '/run/gingham' },
  // The last known state, for a start without the API server.
  { name: 'state', host: '/var/lib/gingham', at: '/var/lib/gingham' },
  // The node's name and MTU, where Calico's plugin and other programs look for them.
  { name: 'calico', host: '/var/lib/calico', at: '/var/lib/calico' },
  // Reference plugins that are asked in our stead (host-local IPAM), and where they keep what they gave.
  { name: 'plugins', host: '/opt/cni/bin', at: '/opt/cni/bin', readOnly: true },
  { name: 'given', host: '/var/lib/cni', at: '/var/lib/cni' },
  { name: 'netns', host: '/run/netns', at: '/run/netns', follows: true },
  // A container without all rights sees its own settings read only. Those of the network are the agent's work.
  { name: 'settings', host: '/proc/sys/net', at: '/host/proc/sys/net', type: 'Directory' },
]

const volume = ({ name, host, type = undefined }: Place) => ({
  name,
  hostPath: { path: host, type: type ?? 'DirectoryOrCreate' },
})
const mount = ({ name, at, readOnly, follows }: Place) => ({
  name,
  mountPath: at,
  ...(readOnly ? { readOnly } : {}),
  ...(follows ? { mountPropagation: 'HostToContainer' } : {}),
})

const confined = (capabilities: readonly string[]) => ({
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'], ...(capabilities.length > 0 ? { add: capabilities } : {}) },
  readOnlyRootFilesystem: true,
})

function daemonSet({ image, pool, ipv6, autodetection }: ManifestOptions): object {
  const shipped = { image: image ?? DEFAULT_IMAGE, imagePullPolicy: 'IfNotPresent' }
  const probe = (path: string) => ({ httpGet: { host: '127.0.0.1', port: HEALTH_PORT, path } })
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { ...named(AGENT), namespace: NAMESPACE },
    spec: {
      selector: { matchLabels: LABELS },
      updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 1 } },
      template: {
        metadata: { labels: LABELS },
        spec: {
          serviceAccountName: AGENT,
          priorityClassName: 'system-node-critical',
          hostNetwork: true,
          nodeSelector: { 'kubernetes.io/os': 'linux' },
          // Without it no pod gets a network: it runs on every node, whatever keeps others away.
          tolerations: [
            { effect: 'NoSchedule', operator: 'Exists' },
            { effect: 'NoExecute', operator: 'Exists' },
            { key: 'CriticalAddonsOnly', operator: 'Exists' },
          ],
          // It leaves the table, BIRD's routes and the pods as they are.
          terminationGracePeriodSeconds: 5,
          securityContext: { seccompProfile: { type: 'RuntimeDefault' } },
          initContainers: [
            {
              name: 'install-cni',
              ...shipped,
              command: ['/usr/bin/node', '/opt/gingham/install-cni.js', ...(ipv6 ? ['--ipv6'] : [])],
              securityContext: confined([]),
              volumeMounts: INSTALLER_PLACES.map(mount),
            },
          ],
          containers: [
            {
              name: 'agent',
              ...shipped,
              args: ['--state', '/var/lib/gingham', '--listen', `127.0.0.1:${HEALTH_PORT}`],
              env: [
                // For the command line, too, which is in the image.
                variable('DATASTORE_TYPE', 'kubernetes'),
                { name: 'NODENAME', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } },
                // As Calico's manifests do: what a node serves, its pods may ask, within their own policy.
                variable('FELIX_DEFAULTENDPOINTTOHOSTACTION', 'ACCEPT'),
                variable('IP_AUTODETECTION_METHOD', autodetection ?? 'kubernetes-internal-ip'),
                ...(ipv6 ? [variable('IP6', 'autodetect')] : []),
                ...(pool === undefined ? [] : [variable('CALICO_IPV4POOL_CIDR', pool)]),
                variable('GINGHAM_PROC_SYS', '/host/proc/sys'),
              ],
              // Where the service address of the API server does not work before there is a network, as with Calico.
              envFrom: [{ configMapRef: { name: 'kubernetes-services-endpoint', optional: true } }],
              securityContext: confined([
                // Tables, links, routes; packets of one's own; the port of BGP; entering the pods' namespaces.
                ...['NET_ADMIN', 'NET_RAW', 'NET_BIND_SERVICE', 'SYS_ADMIN'],
              ]),
              livenessProbe: { ...probe('/healthz'), periodSeconds: 10, failureThreshold: 6, timeoutSeconds: 10 },
              // Often, so that a node is ready as soon as it is; the answer costs nothing.
              readinessProbe: { ...probe('/readyz'), periodSeconds: 2, timeoutSeconds: 10 },
              resources: { requests: { cpu: '100m', memory: '128Mi' } },
              volumeMounts: AGENT_PLACES.map(mount),
            },
          ],
          volumes: [...INSTALLER_PLACES, ...AGENT_PLACES].map(volume),
        },
      },
    },
  }
}

/** The objects besides the definitions of our kinds, in the order in which they are to be created. */
export function installManifest(options: ManifestOptions = {}): readonly object[] {
  return [
    {
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { ...named(AGENT), namespace: NAMESPACE },
    },
    { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole', metadata: named(AGENT), rules: AGENT_RULES },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: named(AGENT),
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: AGENT },
      subjects: [{ kind: 'ServiceAccount', name: AGENT, namespace: NAMESPACE }],
    },
    daemonSet(options),
  ]
}
