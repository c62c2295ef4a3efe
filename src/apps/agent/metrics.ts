// Prometheus metrics: Felix's names where Felix has the thing, `gingham_` for what only we have.
import { Counter, Gauge, Registry, Summary } from 'prom-client'

const PERCENTILES = [0.5, 0.9, 0.99]

export class Metrics {
  readonly registry = new Registry()
  /** Brings up to date what is only known when somebody asks. */
  beforeScrape: () => void = () => {}
  readonly activeLocalEndpoints = this.#gauge(
    'felix_active_local_endpoints',
    'Endpoints on this host whose policy is programmed.',
  )
  readonly clusterEndpoints = this.#gauge('felix_cluster_num_workload_endpoints', 'Workload endpoints of the cluster.')
  readonly clusterHosts = this.#gauge('felix_cluster_num_host_endpoints', 'Host endpoints of the cluster.')
  readonly clusterPolicies = this.#gauge('felix_cluster_num_policies', 'Network policies of the cluster.')
  readonly clusterProfiles = this.#gauge('felix_cluster_num_profiles', 'Profiles of the cluster.')
  readonly clusterTiers = this.#gauge('felix_cluster_num_tiers', 'Tiers of the cluster.')
  readonly resyncState = this.#gauge('felix_resync_state', '1 waiting for the datastore, 3 in sync.')
  readonly applyTime = this.#summary('felix_int_dataplane_apply_time_seconds', 'Time from a snapshot to the kernel.')
  readonly failures = this.#counter(
    'felix_int_dataplane_failures',
    'Failed writes of the policy table; they are retried.',
  )
  readonly foreignEdits = this.#counter(
    'gingham_foreign_edits_total',
    'Changes of the policy table by somebody else; each was repaired.',
  )
  readonly nftCalls = this.#counter('felix_nft_calls', 'nftables transactions sent.')
  readonly elementsAdded = this.#counter('gingham_nft_elements_added_total', 'Set elements added.')
  readonly elementsDeleted = this.#counter('gingham_nft_elements_deleted_total', 'Set elements deleted.')
  readonly atoms = this.#gauge('gingham_atoms', 'Classes of peer addresses.')
  readonly rows = this.#gauge('gingham_rows', 'Distinct decisions by protocol and port.')
  readonly outcomes = this.#gauge('gingham_outcomes', 'Distinct outcomes, each a chain with a counter.')
  readonly programmedRevision = this.#gauge(
    'gingham_programmed_revision',
    'Datastore revision that the kernel enforces.',
  )
  readonly proved = this.#gauge('gingham_proved', '1 if the last proof found the ruleset equal to the intent.')
  readonly provedClasses = this.#gauge('gingham_proved_classes', 'Classes of packets that the last proof compared.')
  readonly proofRestarts = this.#counter(
    'gingham_proof_restarts_total',
    'Times that the thread of the proof died and was started anew.',
  )
  readonly canarySuccess = this.#gauge(
    'gingham_canary_success',
    '1 if the canary’s packets last went as policy wants: the allowed one arrived, the denied ones did not.',
  )
  readonly canaryLastSuccess = this.#gauge(
    'gingham_canary_last_success_timestamp_seconds',
    'When the canary’s packets last went as policy wants.',
  )
  readonly canaryRuns = new Counter({
    name: 'gingham_canary_runs_total',
    help: 'Rounds of the canary by result: ok, failed, unable (it cannot be set up), off (a pool holds its addresses).',
    labelNames: ['result'],
    registers: [this.registry],
  })
  readonly canarySeconds = this.#summary('gingham_canary_seconds', 'Time of a round of the canary.')
  readonly logPackets = this.#counter(
    'gingham_log_packets_total',
    'Packets that came to Log rules, by the kernel’s counters; more than there are lines, which are limited.',
  )
  readonly logLines = this.#counter(
    'gingham_log_lines_total',
    'Lines of Log rules that the agent wrote, where the kernel’s log is silent.',
  )
  readonly logLost = this.#counter(
    'gingham_log_lost_total',
    'Packets within the limit of their Log rule of which the agent wrote no line: there were too many.',
  )
  readonly problems = this.#gauge('gingham_problems', 'What `gingham status` lists as wrong on this node.')
  readonly ipamCandidates = this.#gauge('ipam_gc_candidates', 'Handles without an owner that are not collected yet.')
  readonly ipamReclamations = this.#counter('ipam_gc_reclamations', 'Leaked addresses that were taken back.')
  readonly cniRequests = new Counter({
    name: 'gingham_cni_requests_total',
    help: 'CNI requests by command and result.',
    labelNames: ['command', 'result'],
    registers: [this.registry],
  })
  readonly cniSeconds = new Summary({
    name: 'gingham_cni_seconds',
    help: 'Time of a CNI request in the agent.',
    labelNames: ['command'],
    percentiles: PERCENTILES,
    registers: [this.registry],
  })

  /** The names of Prometheus' own clients. */
  readonly resident = this.#gauge('process_resident_memory_bytes', 'Resident memory size in bytes.')
  readonly heapUsed = this.#gauge('nodejs_heap_size_used_bytes', 'Heap in use, without that of the proof’s thread.')

  /** All of them, as Prometheus reads them. */
  text(): Promise<string> {
    this.beforeScrape()
    const { rss, heapUsed } = process.memoryUsage()
    this.resident.set(rss)
    this.heapUsed.set(heapUsed)
    return this.registry.metrics()
  }

  #gauge(name: string, help: string): Gauge {
    return new Gauge({ name, help, registers: [this.registry] })
  }
  #counter(name: string, help: string): Counter {
    return new Counter({ name, help, registers: [this.registry] })
  }
  #summary(name: string, help: string): Summary {
    return new Summary({ name, help, percentiles: PERCENTILES, registers: [this.registry] })
  }
}
