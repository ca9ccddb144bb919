package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/orchion/orchion/shared/cmd/dev/internal/program"
)

func dashboardCommand() *cobra.Command {
	var orchestrator string
	cmd := &cobra.Command{
		Use:   "dev-dashboard",
		Short: "Serve the dashboard from its sources, reloading on change, until Ctrl-C",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			r, err := findRepo()
			if err != nil {
				return err
			}
			if err := npmPackages(ctx, r); err != nil {
				return err
			}
			c := program.Command{Name: "npm", Args: []string{"run", "dev", "-w", "dashboard"}, Dir: r.Root}
			if orchestrator != "" {
				c.Env = []string{"VITE_ORCHESTRATOR_URL=" + orchestrator}
			}
			if err := program.Run(ctx, c); err != nil && ctx.Err() == nil {
				return errors.Join(errors.New("the dashboard's server ended"), err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&orchestrator, "orchestrator", "", "`URL` of the orchestrator to show (default http://localhost:8080)")
	return cmd
}
