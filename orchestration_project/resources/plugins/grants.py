"""Access of plugins and their publishers, for a review of who may do what."""

from collections.abc import Sequence

from sqlalchemy import Connection, RowMapping, select

from orchestration_project.domains.plugins.tables import plugins_publishers
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.plugins.state import read_plugins
from orchestration_project.services.access.review import AccessGrant


def read_publishers(connection: Connection) -> Sequence[RowMapping]:
    """Return the publishers, by name."""
    query = select(plugins_publishers).order_by(plugins_publishers.c.publisher)
    return connection.execute(query).mappings().all()


def read_grants(warehouse: Warehouse) -> Sequence[AccessGrant]:
    """Return the access of each plugin with a grant, and of each trusted publisher."""
    with warehouse.reading() as connection:
        plugins, publishers = read_plugins(connection), read_publishers(connection)
    grants: list[AccessGrant] = []
    for plugin in plugins:
        if plugin.grant is not None:
            permissions = plugin.permissions.model_dump(exclude_defaults=True)
            grants.append(
                AccessGrant(
                    principal=plugin.id,
                    kind="plugin",
                    permissions=f"{plugin.state}: {', '.join(sorted(permissions)) or 'nothing'}",
                    granted_at=plugin.grant.granted_at,
                    granted_by=plugin.grant.granted_by,
                )
            )
    trusted = [
        AccessGrant(
            principal=publisher["publisher"],
            kind="plugin publisher",
            permissions="sign plugins",
            granted_at=publisher["changed_at"],
            granted_by=publisher["changed_by"],
        )
        for publisher in publishers
        if publisher["state"] == "trusted"
    ]
    return [*grants, *trusted]
