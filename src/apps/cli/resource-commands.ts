// apply, create, replace, delete, get, validate: their flags and help.
import { type Command, Option } from 'commander'
import { resourceKey } from '../../core/resources/cause.ts'
import { KINDS } from '../../core/resources/resource.ts'
import { checkScope, get, kindOf } from './get.ts'
import { examples, type FileOptions, inputsOf, type Surroundings, withClient, withFiles } from './surroundings.ts'
import { CommandError } from './terminal.ts'
import { keysOf, remove, validate, type WriteAction, write } from './write.ts'

export function addResourceCommands(root: Command, surroundings: Surroundings): void {
  const { terminal } = surroundings

  function writing(action: WriteAction, description: string): Command {
    const command = withFiles(root.command(action).description(description))
      .option('--allow-partial', 'write the good documents of an input that has bad ones too')
      .addHelpText(
        'after',
        examples(
          `gingham ${action} -f examples/allow-backend-to-frontend.yaml`,
          `gingham ${action} -R -f policies/`,
          `cat policy.yaml | gingham ${action} -f -`,
        ),
      )
    if (action === 'create') command.option('--skip-exists', 'what exists already is no error')
    return command.action(async (options: FileOptions & { allowPartial?: boolean; skipExists?: boolean }) => {
      const read = await inputsOf(options, terminal)
      const { namespace, allowPartial = false, skipExists = false } = options
      if (!read) return
      await withClient(surroundings, client =>
        write(action, read, { client, terminal, options: { namespace, allowPartial, skipExists } }),
      )
    })
  }

  writing('apply', 'create resources, or change those that exist')
  writing('create', 'create resources; those that exist are an error')
  writing('replace', 'replace resources; those that do not exist are an error')

  withFiles(
    root.command('delete [kind] [names...]').description('delete resources, by kind and name or as files name them'),
  )
    .option('-s, --skip-not-exists', 'what does not exist is no error')
    .addHelpText(
      'after',
      examples(
        'gingham delete networkpolicy allow-backend-to-frontend',
        'gingham delete -f policies/',
        'gingham delete gnp a b -s',
      ),
    )
    .action(async (kind: string | undefined, names: string[], options: FileOptions & { skipNotExists?: boolean }) => {
      const { namespace, skipNotExists = false } = options
      if (kind === undefined) {
        const read = await inputsOf(options, terminal)
        if (!read) return
        const keys = keysOf(read, namespace, terminal)
        await withClient(surroundings, client => remove(keys, { client, terminal, skipNotExists }))
        return
      }
      if (names.length === 0) throw new CommandError('name what to delete: gingham delete KIND NAME...')
      const known = kindOf(kind, 'delete')
      checkScope(known, { namespace, allNamespaces: false }, 'delete')
      const scope = KINDS[known].namespaced ? (namespace ?? 'default') : undefined
      const keys = names.map(name => resourceKey(known, scope, name))
      await withClient(surroundings, client => remove(keys, { client, terminal, skipNotExists }))
    })

  withFiles(root.command('get [kind] [names...]').description('show resources'))
    .option('-o, --output <format>', 'ps, wide, yaml, json or name', 'ps')
    .option('-A, --all-namespaces', 'resources of all namespaces')
    .addOption(new Option('-a', 'as -A').hideHelp())
    .addHelpText(
      'after',
      examples(
        'gingham get networkpolicy -A -o wide',
        'gingham get gnp no-client-to-db -o yaml',
        'gingham get pods -n prod',
        'gingham get tiers',
      ),
    )
    .action(
      async (
        kind: string | undefined,
        names: string[],
        options: FileOptions & { output: string; allNamespaces?: boolean; a?: boolean },
      ) => {
        const { namespace, output, allNamespaces = false, a = false } = options
        const read = kind === undefined ? await inputsOf(options, terminal) : undefined
        if (kind === undefined && !read) return
        const target = read ? { keys: keysOf(read, namespace, terminal).reverse() } : { kind: kind ?? '', names }
        await withClient(surroundings, client =>
          get(target, { client, terminal, options: { namespace, output, allNamespaces: allNamespaces || a } }),
        )
      },
    )

  withFiles(root.command('validate').description('check files without a datastore, and say what they mean'))
    .addHelpText('after', examples('gingham validate -f policy.yaml', 'gingham validate -R -f policies/'))
    .action(async (options: FileOptions) => {
      const read = await inputsOf(options, terminal)
      if (read) validate(read, options.namespace, terminal)
    })
}
