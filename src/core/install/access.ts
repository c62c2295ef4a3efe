// What the agent may do in a cluster: what it watches, what of it it writes, nothing else. A right that nobody can name the
// use of is not here.
import { customResourceDefinitions, GROUP } from '../kubernetes/crd.ts'
import { IPAM_SCHEMAS } from '../kubernetes/ipam-schema.ts'

export type Rule = {
  readonly apiGroups: readonly string[]
  readonly resources: readonly string[]
  readonly verbs: readonly string[]
}

const READ = ['get', 'list', 'watch'] as const

/** Kubernetes' own kinds that policy, routing and addresses depend on. */
const KUBERNETES: readonly Rule[] = [
  { apiGroups: [''], resources: ['namespaces', 'nodes', 'pods', 'serviceaccounts', 'services'], verbs: READ },
  { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: READ },
  { apiGroups: ['networking.k8s.io'], resources: ['networkpolicies'], verbs: READ },
  // Where the cluster has the kind.
  { apiGroups: ['policy.networking.k8s.io'], resources: ['clusternetworkpolicies'], verbs: READ },
  // The node's addresses and tunnel addresses are annotations of the Node; its network is said to be there in its status.
  { apiGroups: [''], resources: ['nodes', 'nodes/status'], verbs: ['patch', 'update'] },
  // A pod's addresses are told by annotations before the kubelet reports them. Through the status, nothing else of a pod
  // can be changed.
  { apiGroups: [''], resources: ['pods/status'], verbs: ['patch', 'update'] },
]

const definedKinds = customResourceDefinitions().map(({ spec }) => spec.names.plural)
const addressKinds = Object.values(IPAM_SCHEMAS).map(({ plural }) => plural)

/** What people configure: read, and created when a cluster has none yet. */
const CONFIGURED: readonly Rule[] = [
  { apiGroups: [GROUP], resources: definedKinds, verbs: READ },
  { apiGroups: [GROUP], resources: ['clusterinformations', 'ippools', 'tiers'], verbs: ['create'] },
  // Objects of Calico's older form, where a cluster still has them.
  { apiGroups: ['crd.projectcalico.org'], resources: ['*'], verbs: READ },
]

/** Addresses are the agents' own book. */
const ADDRESSES: readonly Rule[] = [
  { apiGroups: [GROUP], resources: addressKinds, verbs: ['create', 'update', 'delete'] },
]

export const AGENT_RULES: readonly Rule[] = [...KUBERNETES, ...CONFIGURED, ...ADDRESSES]
