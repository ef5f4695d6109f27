"""A libvirt host. The only package that knows libvirt."""

from __future__ import annotations

from devvm.adapters.libvirt.hypervisor import LibvirtHypervisor

__all__ = ["LibvirtHypervisor"]
