"""The stages from Debian packages to a Vagrant box, and what must hold after each of them."""

from __future__ import annotations

import json
from pathlib import Path

from devvm.domain.box import Box
from devvm.domain.errors import OperationError
from devvm.domain.package_set import PackageSet
from devvm.domain.release.identity import hash_of
from devvm.operations.box import code
from devvm.operations.box import packages as box_packages
from devvm.operations.box.stages import Stage, StageLog
from devvm.operations.core.progress import Run
from devvm.ports.box import BuildServices
from devvm.ports.services import Services

DISK_GIB = 20
_PLAYBOOK = "box.yml"


class BoxBuild:
    """One box under construction.

    Args:
        services: The adapters to use.
        tools: The adapters that build boxes.
        run: Reports the phases.
        folder: The stages' output; private to root.
        release: The name of the box's release.
        packages: The exact packages of the box.
    """

    def __init__(
        self,
        services: Services,
        tools: BuildServices,
        run: Run,
        folder: Path,
        release: str,
        packages: PackageSet,
    ) -> None:
        self._services = services
        self._tools = tools
        self._run = run
        self._release = release
        self._packages = packages
        self._log = run.log(services.state)
        self._stages = StageLog(folder)
        self._repository = folder / "repository"
        self._rootfs = folder / "rootfs.tar"
        self.tree = folder / "root"
        self._disk = folder / "disk.raw"
        self._image = folder / "box.img"
        self._box = folder / "devvm.box"
        self._deployed = folder / "applications.json"
        self._mirrors = services.config.box.role_variables

    def candidate(self) -> Box:
        """Run the stages that are left, and pack the box; doesn't register it.

        Raises:
            DevvmError: a stage failed; the output of earlier stages is kept for the next run.
        """
        self._stages.run(self._plan(), self._run)
        return self._tools.writer.pack(self._image, self._release, self._box, self._packages)

    def seconds(self) -> dict[str, float]:
        """How long each stage took."""
        return self._stages.seconds()

    def applications(self) -> dict[str, str]:
        """The commits of the applications whose code was deployed, by name."""
        try:
            return dict(json.loads(self._deployed.read_text(encoding="utf-8")))
        except FileNotFoundError:  # an older devvm applied the roles
            return {}

    def _plan(self) -> list[Stage]:
        declared = self._tools.declarations
        return [
            Stage(
                name="packages",
                title="Installing Debian packages",
                work=self._install_packages,
                inputs={
                    "packages": declared.packages(),
                    "package_set": [package.line for package in self._packages],
                    **self._mirrors,
                },
                output=self._rootfs,
            ),
            Stage(
                name="converge",
                title="Applying the roles",
                work=self._converge,
                inputs={"state_paths": declared.state_paths()},
                output=self.tree,
            ),
            Stage(
                name="idempotence",
                title="Applying the roles again: nothing should change",
                work=self._converge_again,
                inputs={},
            ),
            Stage(
                name="anonymise",
                title="Removing keys, logs and machine IDs",
                work=self._anonymise,
                inputs={"secrets": self._secrets()},
            ),
            Stage(
                name="disk",
                title="Assembling the disk",
                work=self._assemble,
                inputs={"size_gib": DISK_GIB},
                output=self._disk,
            ),
            Stage(
                name="bootloader",
                title="Installing the boot loader",
                work=self._install_bootloader,
                inputs={},
                output=self._image,
            ),
        ]

    def _install_packages(self) -> None:
        trees = self._tools.trees
        trees.remove(self._repository)  # left by a killed run
        self._repository.mkdir()
        box_packages.repository(
            self._services, self._tools, self._run, self._packages, self._repository
        )
        self._tools.roots.build(
            self._tools.declarations.packages(),
            repository=self._repository,
            sources=self._tools.archive.source_lines(),
            destination=self._rootfs,
            detail=self._run.detail,
            log=self._log,
        )
        trees.remove(self._repository)

    def _converge(self) -> None:
        unfinished = self.tree.with_name("root.part")
        self._run.detail("unpacking the packages")
        self._tools.trees.remove(self.tree)
        self._tools.trees.unpack(self._rootfs, unfinished, log=self._log)
        self._demand_exact(unfinished, by="installing the packages")
        self._apply(unfinished, first=True)
        unfinished.rename(self.tree)  # a tree with this name is converged

    def _converge_again(self) -> None:
        """Apply the roles again; this also shows that the root still boots."""
        changed = self._apply(self.tree)
        if changed:
            raise OperationError(
                "the roles are not idempotent: a second run changed something",
                details="\n".join(changed),
                resolution="fix these tasks, then: sudo devvm box build",
                log=self._log,
            )
        self._demand_exact(self.tree, by="applying the roles")

    def _demand_exact(self, tree: Path, *, by: str) -> None:
        box_packages.demand_exact(self._packages, self._tools.trees.packages(tree), by=by)

    def _apply(self, tree: Path, *, first: bool = False) -> list[str]:
        """Apply the box's playbook in a container; return the tasks that changed something.

        The first time, the applications' code is deployed before.
        """
        name = f"devvm-box-{hash_of(self._release)}"
        paths = [{"path": path} for path in self._tools.declarations.state_paths()]
        network = self._services.stack.description().box.network
        with self._tools.containers.booted(
            tree, name=name, detail=self._run.detail, log=self._log, network=network
        ) as target:
            if first:
                deployed = code.deploy(self._services, target, self._run)
                self._deployed.write_text(json.dumps(deployed), encoding="utf-8")
            result = self._services.provisioner.apply(
                _PLAYBOOK,
                target,
                variables={**self._mirrors, "guest_persistent_paths": paths},
                detail=self._run.detail,
                log=self._log,
            )
        named = [f"{task.get('role', '')}: {task.get('task', '')}" for task in result.tasks]
        return named or [f"{result.changed} tasks"] * bool(result.changed)

    def _anonymise(self) -> None:
        secrets = self._secrets()
        self._tools.trees.anonymise(self.tree, secrets)
        self._run.detail("looking for secrets")
        found = self._tools.trees.secrets(self.tree, secrets)
        if found:
            raise OperationError(
                "the box would contain secrets",
                details="\n".join(found),
                resolution="create them in the VM at first boot, not in a role; then: sudo "
                "devvm box build --force",
            )

    def _secrets(self) -> list[str]:
        """Files that each machine gets or makes for itself."""
        tls = self._services.stack.description().tls
        return [*self._tools.declarations.secret_paths(), tls.key, tls.certificate]

    def _assemble(self) -> None:
        self._run.detail("filling the file system")
        self._tools.images.assemble(self.tree, self._disk, size_gib=DISK_GIB, log=self._log)

    def _install_bootloader(self) -> None:
        driver, _ = self._services.host.driver("auto")
        self._tools.images.install_bootloader(
            self._disk,
            self.tree,
            self._image,
            driver=driver,
            detail=self._run.detail,
            log=self._log,
        )
