// Settings of the build that Vite puts into the code.
interface ImportMetaEnv {
	/** The orchestrator to talk to, for example http://10.0.0.5:8080. Empty: see lib/settings. */
	readonly VITE_ORCHESTRATOR_URL?: string;
}

interface ImportMeta {
	readonly env: ImportMetaEnv;
}
