// Which of Calico's two groups a cluster keeps its kinds in. As Calico decides it: the environment, else the older group
// if it is served.
import type { ApiGroup } from '../../core/kubernetes/collection.ts'
import type { ApiClient } from './api-client.ts'

const OLDER = 'crd.projectcalico.org'

/** Throws if the server cannot be asked. */
export async function findApiGroup(client: ApiClient, chosen: string | undefined): Promise<ApiGroup> {
  if (chosen) return chosen === 'projectcalico.org/v3' ? 'projectcalico.org/v3' : 'crd.projectcalico.org/v1'
  const { groups } = JSON.parse(await client.request('GET', '/apis')) as { groups: readonly { name: string }[] }
  const served = (name: string): boolean => groups.some(group => group.name === name)
  // A cluster with neither has not been prepared yet; what is installed then is the newer.
  return served(OLDER) ? 'crd.projectcalico.org/v1' : 'projectcalico.org/v3'
}
