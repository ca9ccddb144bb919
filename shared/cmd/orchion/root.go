package main

import (
	"cmp"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// defaultURL is where an orchestrator listens that was started without flags.
const defaultURL = "http://localhost:8080"

// cli is what the commands share: the options of the root command.
type cli struct {
	url    string
	output string
}

func newRoot() *cobra.Command {
	c := &cli{}
	root := &cobra.Command{
		Use:   "orchion",
		Short: "Run AI agents across every machine you own",
		Long: "orchion talks to an Orchion orchestrator: it shows nodes, submits jobs and follows them,\n" +
			"deploys models and chats with them.",
		Example: "  orchion node ls\n" +
			"  orchion model deploy qwen3:0.6b\n" +
			"  orchion chat qwen3:0.6b \"Why is the sky blue?\"\n" +
			"  orchion job submit --follow --image docker.io/library/busybox -- echo hello",
		SilenceErrors:              true,
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			u, err := url.Parse(c.url)
			if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
				return usagef("--url is %q; it must look like %s", c.url, defaultURL)
			}
			if !slices.Contains(outputs, c.output) {
				return usagef("--output is %q; it must be one of %s", c.output, strings.Join(outputs, ", "))
			}
			return nil
		},
	}
	root.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		text := ""
		if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
			text = "; did you mean " + strings.Join(similar, " or ") + "?"
		}
		return usagef("there is no command %q%s", args[0], text)
	}
	root.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w; see %s --help", err, cmd.CommandPath())
	})
	root.PersistentFlags().StringVar(&c.url, "url", cmp.Or(os.Getenv("ORCHION_URL"), defaultURL), "the orchestrator's address (ORCHION_URL)")
	root.PersistentFlags().StringVarP(&c.output, "output", "o", outputTable, "how to print: "+strings.Join(outputs, ", "))
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(outputs, cobra.ShellCompDirectiveNoFileComp)) // fails only for an unknown flag
	root.AddCommand(c.clusterCommand(), c.nodeCommand(), c.jobCommand(), c.queueCommand(), c.scheduleCommand(), c.applyCommand(), c.deleteCommand(), c.modelCommand(), c.aliasCommand(), c.usageCommand(), c.chatCommand(), c.versionCommand())
	return root
}

// client talks to the orchestrator that the options name.
func (c *cli) client() *client { return newClient(c.url) }

// group makes a command that only holds others. Without one of them it is
// wrong use, not success.
func group(use, short string, aliases []string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:     use,
		Short:   short,
		Aliases: aliases,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("%s has no command %q; see %s --help", cmd.CommandPath(), args[0], cmd.CommandPath())
			}
			_ = cmd.Help() // writes to stdout; nothing to do about an error
			return usagef("%s needs a command", cmd.CommandPath())
		},
	}
	cmd.AddCommand(commands...)
	return cmd
}

// exactly asks for the named arguments.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return usagef("%s takes %s; it was given %d arguments", cmd.CommandPath(), strings.Join(names, " "), len(args))
		}
		return nil
	}
}

// atLeastOne asks for one or more of what is named.
func atLeastOne(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usagef("%s takes one %s or more", cmd.CommandPath(), name)
		}
		return nil
	}
}

// keyValues reads flags of the form key=value.
func keyValues(flag string, pairs []string) (map[string]string, error) {
	values := make(map[string]string, len(pairs))
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, usagef("--%s is %q; write key=value", flag, pair)
		}
		values[key] = value
	}
	return values, nil
}

// each does something for every argument and goes on after a failure; it
// answers the first one.
func each(args []string, do func(string) error) error {
	var first error
	for _, arg := range args {
		if err := do(arg); err != nil {
			if first == nil {
				first = err
				continue
			}
			fmt.Fprintln(os.Stderr, "orchion:", err)
		}
	}
	return first
}
