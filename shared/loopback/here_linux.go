package loopback

import (
	"os"
	"strings"
	"syscall"
)

func here() Place {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Place{}
	}
	info, err := os.Stat("/proc/self/ns/net")
	if err != nil {
		return Place{}
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	id := strings.TrimSpace(string(boot))
	if !ok || id == "" || stat.Ino == 0 {
		return Place{}
	}
	return Place{BootID: id, NetworkNamespace: stat.Ino}
}
